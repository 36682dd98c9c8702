#include "quantize/effective_weights.h"

#include <algorithm>
#include <cstddef>

#include "kernels/check.h"

namespace anyprec {

void EffectiveSampleWeights(std::span<const float> sample_weights,
                            std::span<double> weights) {
  ANYPREC_CHECK(sample_weights.empty() ||
                sample_weights.size() == weights.size());
  double sum = 0;
  for (const float weight : sample_weights) sum += weight;
  if (sum == 0) {
    std::fill(weights.begin(), weights.end(), 1.0);
    return;
  }
  const double scale = static_cast<double>(sample_weights.size()) / sum;
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = std::max(scale * sample_weights[i], kMinRelativeSampleWeight);
  }
}

}  // namespace anyprec
