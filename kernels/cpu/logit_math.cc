#include "kernels/cpu/logit_math.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

// Compiles the functions between the HWY_ marks once for every instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/logit_math.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace anyprec {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

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

// a * b + c, rounded once.
template <class V>
HWY_INLINE V FusedMulAdd(FloatTag d, V a, V b, V c) {
#if HWY_NATIVE_FMA
  (void)d;
  return hn::MulAdd(a, b, c);
#else
  HWY_ALIGN float lanes[3][16];
  hn::Store(a, d, lanes[0]);
  hn::Store(b, d, lanes[1]);
  hn::Store(c, d, lanes[2]);
  for (size_t i = 0; i < hn::Lanes(d); ++i) {
    lanes[0][i] = std::fma(lanes[0][i], lanes[1][i], lanes[2][i]);
  }
  return hn::Load(d, lanes[0]);
#endif
}

// WeightOf() each lane, as int32.
template <class V>
HWY_INLINE auto WeightLanes(FloatTag d, V logits, V max, V scale) {
  const hn::RebindToSigned<FloatTag> di;
  const auto shift = hn::Set(d, kRoundingShift);
  const auto x =
      hn::Max(hn::Mul(hn::Sub(logits, max), scale), hn::Set(d, kLeastExponent));
  const auto shifted = hn::Add(x, shift);
  const auto f = hn::Sub(x, hn::Sub(shifted, shift));
  // Scaled by a power of two, the sums and products round alike.
  auto p = hn::Set(d, Exp2Term(kExp2Degree) * kWeightOne);
  for (int i = kExp2Degree - 1; i >= 0; --i) {
    p = FusedMulAdd(d, p, f, hn::Set(d, Exp2Term(i) * kWeightOne));
  }
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  return hn::NearestInt(hn::BitCast(d, hn::Add(hn::BitCast(di, p), exponent)));
}

void WeightsOfValues(const float* logits, size_t count, float max, float scale,
                     uint32_t* weights) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> du;
  const size_t lanes = hn::Lanes(d);
  const auto weigh = [&](const float* from, uint32_t* to) HWY_ATTR {
    const auto values = hn::LoadU(d, from);
    hn::StoreU(hn::BitCast(du, WeightLanes(d, values, hn::Set(d, max),
                                           hn::Set(d, scale))),
               du, to);
  };
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) weigh(logits + i, weights + i);
  if (i == count) return;
  float last_logits[16] = {};
  uint32_t last_weights[16];
  std::copy(logits + i, logits + count, last_logits);
  weigh(last_logits, last_weights);
  std::copy_n(last_weights, count - i, weights + i);
}

// The blocks that reach beyond `threshold`, and of their logits the ones that
// do; all of these where !kCompares.
template <bool kCompares>
uint64_t WeightOfFullBlocks(const float* logits, const float* maxima,
                            size_t blocks, float max, float scale,
                            float threshold) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> du;
  const size_t lanes = hn::Lanes(d);
  const auto max_lanes = hn::Set(d, max);
  const auto scale_lanes = hn::Set(d, scale);
  const auto bound = hn::Set(d, threshold);
  const auto low_half = hn::Set(du, 0xffffu);
  const auto weigh = [&](const float* first) HWY_ATTR {
    const auto values = hn::LoadU(d, first);
    const auto weights =
        hn::BitCast(du, WeightLanes(d, values, max_lanes, scale_lanes));
    if constexpr (!kCompares) return weights;
    return hn::IfThenElseZero(hn::RebindMask(du, hn::Gt(values, bound)),
                              weights);
  };
  // Four weights fit 32 bits. Their sums are summed in halves, of which 256
  // blocks still do, all lanes together.
  constexpr size_t kBlocksAtATime = 256;
  uint64_t total = 0;
  for (size_t first = 0; first < blocks; first += kBlocksAtATime) {
    auto low = hn::Zero(du);
    auto high = hn::Zero(du);
    const size_t end = std::min(blocks, first + kBlocksAtATime);
    for (size_t b = first; b < end; ++b) {
      if (kCompares && maxima[b] <= threshold) continue;
      if ((maxima[b] - max) * scale <= kLeastExponent) continue;
      const float* const block = logits + b * kLogitBlock;
      for (size_t i = 0; i < kLogitBlock; i += 4 * lanes) {
        const auto sum =
            hn::Add(hn::Add(weigh(block + i), weigh(block + i + lanes)),
                    hn::Add(weigh(block + i + 2 * lanes),
                            weigh(block + i + 3 * lanes)));
        low = hn::Add(low, hn::And(sum, low_half));
        high = hn::Add(high, hn::ShiftRight<16>(sum));
      }
    }
    total += hn::GetLane(hn::SumOfLanes(du, low)) +
             (uint64_t{hn::GetLane(hn::SumOfLanes(du, high))} << 16);
  }
  return total;
}

uint64_t WeightAboveOfFullBlocks(const float* logits, const float* maxima,
                                 size_t blocks, float max, float scale,
                                 float threshold) {
  return std::isinf(threshold)
             ? WeightOfFullBlocks<false>(logits, maxima, blocks, max, scale,
                                         threshold)
             : WeightOfFullBlocks<true>(logits, maxima, blocks, max, scale,
                                        threshold);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace anyprec
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anyprec {

HWY_EXPORT(BlockMaximaOfFullBlocks);
HWY_EXPORT(WeightsOfValues);
HWY_EXPORT(WeightAboveOfFullBlocks);
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

void Weights(std::span<const float> logits, const WeightScale& scale,
             std::vector<uint32_t>& weights) {
  weights.resize(logits.size());
  HWY_DYNAMIC_DISPATCH(WeightsOfValues)
  (logits.data(), logits.size(), scale.max, scale.scale, weights.data());
}

uint64_t WeightAbove(std::span<const float> logits,
                     std::span<const float> maxima, const WeightScale& scale,
                     float threshold) {
  const size_t full = logits.size() / kLogitBlock;
  uint64_t total = HWY_DYNAMIC_DISPATCH(WeightAboveOfFullBlocks)(
      logits.data(), maxima.data(), full, scale.max, scale.scale, threshold);
  for (const float logit : logits.subspan(full * kLogitBlock)) {
    if (logit > threshold) total += WeightOf(logit, scale);
  }
  return total;
}

}  // namespace anyprec
#endif  // HWY_ONCE
