#include "quantize/binary_coded_row_quantizer.h"

#include <algorithm>
#include <cstddef>

#include "kernels/bit_plane.h"
#include "kernels/check.h"
#include "quantize/effective_weights.h"

namespace anyprec {

BinaryCodedRowQuantizer::BinaryCodedRowQuantizer(const PrecisionRange& range,
                                                 int group_size)
    : format_{.range = range,
              .scheme = Scheme::kBinaryCoded,
              .group_size = group_size} {
  ANYPREC_CHECK(kMinBits <= range.seed_bits &&
                range.seed_bits <= range.parent_bits &&
                range.parent_bits <= kMaxBits && group_size > 0);
}

RowError BinaryCodedRowQuantizer::Quantize(
    std::span<const float> values, std::span<const float> sample_weights,
    std::span<uint8_t> codes, std::span<Float16> stored) {
  const int k = static_cast<int>(values.size());
  const auto& [seed_bits, parent_bits] = format_.range;
  const size_t group_size = format_.group_size;
  const size_t groups = GroupCount(k, format_.group_size);
  ANYPREC_CHECK(codes.size() == values.size());
  ANYPREC_CHECK(stored.size() == format_.ValuesPerRow(k));
  weights_.resize(values.size());
  EffectiveSampleWeights(sample_weights, weights_);

  RowError error;
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    error.squared_norm += weights_[i] * value * value;
  }
  for (size_t g = 0; g < groups; ++g) {
    const size_t first = g * group_size;
    const size_t size = std::min(group_size, values.size() - first);
    group_.Assign(values.subspan(first, size),
                  std::span(weights_).subspan(first, size));
    size_t alphas = 0;  // where those of the precision begin
    for (int p = seed_bits; p <= parent_bits; ++p) {
      if (p == seed_bits) {
        group_.Seed(p);
      } else {
        group_.AddBit();
      }
      const size_t betas = alphas + groups * p;
      std::copy_n(group_.alpha().begin(), p, stored.begin() + alphas + g * p);
      stored[betas + g] = group_.beta();
      error.squared_error[p - seed_bits] += group_.squared_error();
      alphas = betas + groups;
    }
    std::copy_n(group_.codes().begin(), size, codes.begin() + first);
  }
  return error;
}

}  // namespace anyprec
