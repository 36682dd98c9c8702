// How large a weight the scales of a group can mean.
#ifndef ANYPREC_KERNELS_LARGEST_WEIGHT_H_
#define ANYPREC_KERNELS_LARGEST_WEIGHT_H_

#include <cmath>
#include <span>

#include "kernels/types.h"

namespace anyprec {

// Of the finite ones. No group may mean a weight beyond it.
inline constexpr float kLargestFloat16 = 65504.0f;

// The absolute value of the largest weight that any code can have; NaN or
// infinite where one of the scales is.
inline float LargestWeight(std::span<const Float16> alpha, Float16 beta) {
  float sum = std::abs(ToFloat(beta));
  for (const Float16 scale : alpha) sum += std::abs(ToFloat(scale));
  return sum;
}

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_LARGEST_WEIGHT_H_
