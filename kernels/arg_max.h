// The likeliest token of a row of logits, where the host holds it: what every
// backend's ArgMax() must give.
//
// Pure; safe from any thread.
#ifndef ANYPREC_KERNELS_ARG_MAX_H_
#define ANYPREC_KERNELS_ARG_MAX_H_

#include <cstdint>
#include <span>

namespace anyprec {

// The index of the largest value, the first of equals; kNotFinite
// (kernels/backend.h) where any value is infinite or NaN. REQUIRES: values.
int32_t ArgMaxOf(std::span<const float> values);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_ARG_MAX_H_
