// kernels/sampling.h in plain loops.
#ifndef ANYPREC_KERNELS_REFERENCE_REFERENCE_SAMPLER_H_
#define ANYPREC_KERNELS_REFERENCE_REFERENCE_SAMPLER_H_

#include <cstdint>
#include <span>

#include "kernels/sampling.h"

namespace anyprec {

// The token drawn, or kNotFinite.
int32_t ReferenceDraw(std::span<const float> logits, const TokenDraw& draw);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_REFERENCE_REFERENCE_SAMPLER_H_
