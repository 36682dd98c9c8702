#include "quantize/sensitivity.h"

#include <cstddef>
#include <utility>

#include "kernels/check.h"

namespace anyprec {

SampleWeights::SampleWeights(std::vector<float> values, int k)
    : values_(std::move(values)),
      k_(k),
      per_row_(values_.size() != static_cast<size_t>(k)) {
  ANYPREC_CHECK(k > 0 && values_.size() % k == 0 && !values_.empty());
}

std::span<const float> SampleWeights::Row(int row) const {
  if (values_.empty()) return {};
  const size_t k = k_;
  return std::span(values_).subspan(per_row_ ? row * k : 0, k);
}

absl::StatusOr<SampleWeights> UniformSensitivity::WeightsFor(
    absl::string_view /*layer*/, int /*n*/, int /*k*/) {
  return SampleWeights();
}

}  // namespace anyprec
