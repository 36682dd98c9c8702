#include "quantize/int8_rows.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/check.h"

namespace anyprec {

void QuantizeRowsToInt8(std::span<const float> weights,
                        std::span<int8_t> values, std::span<float> scales) {
  ANYPREC_CHECK(values.size() == weights.size());
  ANYPREC_CHECK(!scales.empty() && weights.size() % scales.size() == 0);
  const size_t k = weights.size() / scales.size();
  for (size_t row = 0; row < scales.size(); ++row) {
    const std::span<const float> source = weights.subspan(row * k, k);
    float largest = 0;
    for (const float weight : source) {
      largest = std::max(largest, std::abs(weight));
    }
    const float scale = largest / 127.0f;
    scales[row] = scale;
    for (size_t i = 0; i < k; ++i) {
      // A scale that underflowed to a subnormal may be off by more than a
      // rounding, hence the clamp.
      const float value = scale > 0 ? std::nearbyint(source[i] / scale) : 0.0f;
      values[row * k + i] =
          static_cast<int8_t>(std::clamp(value, -127.0f, 127.0f));
    }
  }
}

}  // namespace anyprec
