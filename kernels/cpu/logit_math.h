// The passes over a row of logits that sampling needs (kernels/sampling.h), on
// the widest SIMD the machine has; every instruction set gives the same bits. A
// row of 128k logits is half a megabyte: everything after them looks at a few
// blocks only.
//
// Pure functions; safe from any thread.
#ifndef ANYPREC_KERNELS_CPU_LOGIT_MATH_H_
#define ANYPREC_KERNELS_CPU_LOGIT_MATH_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sampling.h"

namespace anyprec {

// Sets maxima[b] to the largest logit of block b, the last of which may be
// short. Returns whether every logit is finite; maxima mean nothing otherwise.
bool BlockMaxima(std::span<const float> logits, std::vector<float>& maxima);

// REQUIRES: values are finite and at least one.
float Largest(std::span<const float> values);

// Sets weights[i] to WeightOf(logits[i]).
void Weights(std::span<const float> logits, const WeightScale& scale,
             std::vector<uint32_t>& weights);

// The sum of the weights of the logits above `threshold`, -infinity for all.
//   maxima  as BlockMaxima sets them
uint64_t WeightAbove(std::span<const float> logits,
                     std::span<const float> maxima, const WeightScale& scale,
                     float threshold);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_LOGIT_MATH_H_
