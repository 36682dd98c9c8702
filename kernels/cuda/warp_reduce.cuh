// Sums and maxima over the lanes of a warp, the same bits in every lane.
#ifndef ANYPREC_KERNELS_CUDA_WARP_REDUCE_CUH_
#define ANYPREC_KERNELS_CUDA_WARP_REDUCE_CUH_

#include "kernels/cuda/launch.cuh"

namespace anyprec {

// Over each group of kLanes neighbouring lanes, a power of two. All lanes of
// the warp call it together.
template <int kLanes = 32>
__device__ __forceinline__ float WarpSum(float value) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(~0u, value, distance);
  }
  return value;
}

// NaN does not count.
template <int kLanes = 32>
__device__ __forceinline__ float WarpMax(float value) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(~0u, value, distance));
  }
  return value;
}

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_WARP_REDUCE_CUH_
