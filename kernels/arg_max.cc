#include "kernels/arg_max.h"

#include <algorithm>
#include <cstddef>

#include "kernels/backend.h"
#include "kernels/check.h"

namespace anyprec {
namespace {

// Independent maxima, which the compiler keeps in vector registers.
constexpr size_t kLanes = 16;
// The largest value is looked up in its block alone.
constexpr size_t kBlock = 256;

struct BlockSummary {
  float max;
  bool finite;
};

// REQUIRES: a multiple of kLanes values.
BlockSummary Summarize(const float* values, size_t count) {
  float max[kLanes];
  float poison[kLanes];
  std::copy_n(values, kLanes, max);
  std::fill_n(poison, kLanes, 0.0f);
  for (size_t i = 0; i < count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      max[lane] = max[lane] < value ? value : max[lane];
      poison[lane] += value * 0.0f;  // NaN where it is not finite, and stays
    }
  }
  float poison_sum = 0;
  for (const float lane : poison) poison_sum += lane;
  return {*std::max_element(max, max + kLanes), poison_sum == 0};
}

}  // namespace

int32_t ArgMaxOf(std::span<const float> values) {
  ANYPREC_CHECK(!values.empty());
  size_t best_block = 0;
  float best = values[0];
  bool finite = true;
  const size_t whole = values.size() / kLanes * kLanes;
  for (size_t begin = 0; begin < whole; begin += kBlock) {
    const BlockSummary block =
        Summarize(values.data() + begin, std::min(kBlock, whole - begin));
    finite = finite && block.finite;
    if (block.max > best) {
      best = block.max;
      best_block = begin;
    }
  }
  for (size_t i = whole; i < values.size(); ++i) {
    finite = finite && values[i] * 0.0f == 0;
    if (values[i] > best) {
      best = values[i];
      best_block = i;
    }
  }
  if (!finite) return kNotFinite;
  const auto found =
      std::find(values.begin() + static_cast<std::ptrdiff_t>(best_block),
                values.end(), best);
  return static_cast<int32_t>(found - values.begin());
}

}  // namespace anyprec
