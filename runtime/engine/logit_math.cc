#include "runtime/engine/logit_math.h"

#include <algorithm>
#include <cmath>

// Compiles the functions between the HWY_ marks once for every instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/engine/logit_math.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace anyprec {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// The exponent below which a block adds nothing (logit_math.h).
constexpr float kNegligible = -28.0f;

// At most 16 lanes, so that lanes divide kLogitBlock on every target.
using FloatTag = hn::CappedTag<float, 16>;

// x * 0 is NaN where x is not finite, and stays in the sum. Each block sums up
// its own, so that blocks do not wait for each other.
bool BlockMaximaOfFullBlocks(const float* logits, size_t blocks,
                             float* maxima) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  const auto zero = hn::Zero(d);
  auto poison = zero;
  for (size_t b = 0; b < blocks; ++b) {
    const float* const block = logits + b * kLogitBlock;
    auto largest = hn::LoadU(d, block);
    auto block_poison = hn::Mul(largest, zero);
    for (size_t i = lanes; i < kLogitBlock; i += lanes) {
      const auto values = hn::LoadU(d, block + i);
      largest = hn::Max(largest, values);
      block_poison = hn::MulAdd(values, zero, block_poison);
    }
    poison = hn::Add(poison, block_poison);
    maxima[b] = hn::GetLane(hn::MaxOfLanes(d, largest));
  }
  return hn::AllTrue(d, hn::Eq(poison, zero));
}

float LargestOfValues(const float* values, size_t count) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  auto largest = hn::Set(d, values[0]);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    largest = hn::Max(largest, hn::LoadU(d, values + i));
  }
  float max = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; i < count; ++i) max = std::max(max, values[i]);
  return max;
}

// exp(x) for x in [-87, 0]: 2^n * 2^f with n whole and |f| <= 1/2. The Taylor
// series of 2^f to its sixth power is off by (ln 2 / 2)^7 / 7! = 1.2e-7 at
// most, one unit in the last place.
template <class V>
V ExpOfNegative(FloatTag d, V x) {
  const hn::RebindToSigned<FloatTag> di;
  const auto t = hn::Mul(x, hn::Set(d, 1.44269504f));  // log2(e)
  const auto n = hn::Round(t);
  const auto f = hn::Sub(t, n);
  auto power = hn::Set(d, 1.54035304e-4f);  // ln(2)^6 / 6!
  for (const float coefficient :
       {1.33335581e-3f, 9.61812911e-3f, 5.55041087e-2f, 0.240226507f,
        0.693147181f, 1.0f}) {
    power = hn::MulAdd(power, f, hn::Set(d, coefficient));
  }
  const auto exponent = hn::ShiftLeft<23>(hn::ConvertTo(di, n));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, power), exponent));
}

void ExpSumsOfFullBlocks(const float* logits, const float* maxima,
                         size_t blocks, float max, float inverse_temperature,
                         float* sums) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  const auto offset = hn::Set(d, max);
  const auto scale = hn::Set(d, inverse_temperature);
  const auto smallest = hn::Set(d, -87.0f);  // whose exp is a normal number
  for (size_t b = 0; b < blocks; ++b) {
    sums[b] = 0;
    if ((maxima[b] - max) * inverse_temperature < kNegligible) continue;
    const float* const block = logits + b * kLogitBlock;
    auto sum = hn::Zero(d);
    for (size_t i = 0; i < kLogitBlock; i += lanes) {
      const auto x = hn::Mul(hn::Sub(hn::LoadU(d, block + i), offset), scale);
      sum = hn::Add(sum, ExpOfNegative(d, hn::Max(x, smallest)));
    }
    sums[b] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

// Of the blocks that reach beyond `threshold` only.
double ExpSumAboveOfFullBlocks(const float* logits, const float* maxima,
                               size_t blocks, float max,
                               float inverse_temperature, float threshold) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  const auto offset = hn::Set(d, max);
  const auto scale = hn::Set(d, inverse_temperature);
  const auto smallest = hn::Set(d, -87.0f);
  const auto bound = hn::Set(d, threshold);
  double total = 0;
  for (size_t b = 0; b < blocks; ++b) {
    if (maxima[b] <= threshold) continue;
    const float* const block = logits + b * kLogitBlock;
    auto sum = hn::Zero(d);
    for (size_t i = 0; i < kLogitBlock; i += lanes) {
      const auto values = hn::LoadU(d, block + i);
      const auto x = hn::Mul(hn::Sub(values, offset), scale);
      sum = hn::Add(sum,
                    hn::IfThenElseZero(hn::Gt(values, bound),
                                       ExpOfNegative(d, hn::Max(x, smallest))));
    }
    total += hn::GetLane(hn::SumOfLanes(d, sum));
  }
  return total;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace anyprec
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anyprec {

HWY_EXPORT(BlockMaximaOfFullBlocks);
HWY_EXPORT(ExpSumsOfFullBlocks);
HWY_EXPORT(ExpSumAboveOfFullBlocks);
HWY_EXPORT(LargestOfValues);

float Largest(std::span<const float> values) {
  return HWY_DYNAMIC_DISPATCH(LargestOfValues)(values.data(), values.size());
}

bool BlockMaxima(std::span<const float> logits, std::vector<float>& maxima) {
  const size_t full = logits.size() / kLogitBlock;
  const std::span<const float> rest = logits.subspan(full * kLogitBlock);
  maxima.resize(full + (rest.empty() ? 0 : 1));
  bool finite = HWY_DYNAMIC_DISPATCH(BlockMaximaOfFullBlocks)(
      logits.data(), full, maxima.data());
  if (!rest.empty()) maxima[full] = Largest(rest);
  for (const float logit : rest) finite = finite && std::isfinite(logit);
  return finite;
}

double BlockExpSums(std::span<const float> logits,
                    std::span<const float> maxima, float max,
                    float inverse_temperature, std::vector<float>& sums) {
  const size_t full = logits.size() / kLogitBlock;
  const std::span<const float> rest = logits.subspan(full * kLogitBlock);
  sums.resize(full + (rest.empty() ? 0 : 1));
  HWY_DYNAMIC_DISPATCH(ExpSumsOfFullBlocks)
  (logits.data(), maxima.data(), full, max, inverse_temperature, sums.data());
  if (!rest.empty()) {
    sums[full] = 0;
    for (const float logit : rest) {
      sums[full] += std::exp((logit - max) * inverse_temperature);
    }
  }
  double total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

double ExpSumAbove(std::span<const float> logits, std::span<const float> maxima,
                   float max, float inverse_temperature, float threshold) {
  const size_t full = logits.size() / kLogitBlock;
  double total = HWY_DYNAMIC_DISPATCH(ExpSumAboveOfFullBlocks)(
      logits.data(), maxima.data(), full, max, inverse_temperature, threshold);
  for (const float logit : logits.subspan(full * kLogitBlock)) {
    if (logit > threshold) {
      total += std::exp((logit - max) * inverse_temperature);
    }
  }
  return total;
}

}  // namespace anyprec
#endif  // HWY_ONCE
