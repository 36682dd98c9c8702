#include "kernels/sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace anyprec {

float ScaleOf(float temperature) { return 1.44269504f / temperature; }

uint32_t WeightOf(float logit, const WeightScale& weights) {
  const float x =
      std::max((logit - weights.max) * weights.scale, kLeastExponent);
  const float shifted = x + kRoundingShift;
  const float f = x - (shifted - kRoundingShift);
  float p = Exp2Term(kExp2Degree);
  for (int i = kExp2Degree - 1; i >= 0; --i) p = std::fma(p, f, Exp2Term(i));
  // k becomes part of the exponent.
  const uint32_t bits = std::bit_cast<uint32_t>(p * kWeightOne) +
                        (std::bit_cast<uint32_t>(shifted) << 23);
  // Leaves the whole number, ties to even, in the low bits of the mantissa.
  const double rounded = double{std::bit_cast<float>(bits)} + 0x1.8p52;
  return static_cast<uint32_t>(std::bit_cast<uint64_t>(rounded));
}

float LeastOffset(float min_p, float scale) {
  if (min_p <= 0) return -std::numeric_limits<float>::infinity();
  return static_cast<float>(std::log2(static_cast<double>(min_p))) / scale;
}

}  // namespace anyprec
