// The passes over a row of logits that sampling needs, on the widest SIMD
// the machine has. A row of 128k logits is half a megabyte: everything after
// them looks at a few blocks only.
//
// Pure functions; safe from any thread.
#ifndef ANYPREC_RUNTIME_ENGINE_LOGIT_MATH_H_
#define ANYPREC_RUNTIME_ENGINE_LOGIT_MATH_H_

#include <cstddef>
#include <span>
#include <vector>

namespace anyprec {

// Logits in a block: few enough that searching one is free, enough that the
// table of blocks is small (a few hundred for a vocabulary of 49k).
inline constexpr size_t kLogitBlock = 64;

// Sets maxima[b] to the largest logit of block b, the last of which may be
// short. Returns whether every logit is finite; maxima mean nothing otherwise.
bool BlockMaxima(std::span<const float> logits, std::vector<float>& maxima);

// REQUIRES: values are finite and at least one.
float Largest(std::span<const float> values);

// Sets sums[b] to the sum of exp((logit - max) * inverse_temperature) over
// block b, and returns the sum of all. Each exp is good to a few units in the
// last place; blocks whose every exp is below e^-28 count as 0, as all of them
// together are less than the rounding of the sum.
//   maxima  as BlockMaxima sets them; `max` is the largest
// REQUIRES: inverse_temperature > 0 and finite.
double BlockExpSums(std::span<const float> logits,
                    std::span<const float> maxima, float max,
                    float inverse_temperature, std::vector<float>& sums);

// The sum of exp((logit - max) * inverse_temperature) over the logits above
// `threshold`.
double ExpSumAbove(std::span<const float> logits, std::span<const float> maxima,
                   float max, float inverse_temperature, float threshold);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_LOGIT_MATH_H_
