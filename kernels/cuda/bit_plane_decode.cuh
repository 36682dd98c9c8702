// The product of a bit-plane layer with decode rows.
//
// fp32 throughout: exact centroids, fused multiply-adds. A row of y is a
// function of its row of x, the weights and the precision, bit for bit: every
// thread adds up the same columns in the same order however many rows there
// are.
#ifndef ANYPREC_KERNELS_CUDA_BIT_PLANE_DECODE_CUH_
#define ANYPREC_KERNELS_CUDA_BIT_PLANE_DECODE_CUH_

#include <cuda_runtime_api.h>

#include "kernels/cuda/bit_plane_weights.h"

namespace anyprec {

// y = x W^T, or y += x W^T where `accumulate`.
//   x  [rows, k]  fp32, 16-byte aligned
//   y  [rows, n]  fp32
// Enqueues on `stream` and may return before y is written.
// REQUIRES: planes [0, precision) and codebook `precision` of `weights` are
// there.
cudaError_t DecodeBitPlanes(const BitPlaneWeights& weights, int precision,
                            const float* x, int rows, float* y, bool accumulate,
                            cudaStream_t stream);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_BIT_PLANE_DECODE_CUH_
