// The product of a bit-plane layer with prefill rows, on the tensor cores.
//
// Each row of x is multiplied by a power of two that brings its largest
// magnitude to [2^14, 2^15), so that nothing overflows and elements down to
// 2^-28 of the largest keep fp16's 11 bits, and rounded to fp16. Centroids are
// fp16 already and products are summed in fp32, so an element of y is off by at
// most 2^-11 sum |w x| beside what summing in fp32 costs; weights that scales
// make are rounded to fp16 too, which costs as much again. Weights are decoded
// into shared memory tile by tile, once for up to 128 rows of x.
//
// A row of y is a function of its row of x, the weights and the precision, bit
// for bit.
#ifndef ANYPREC_KERNELS_CUDA_BIT_PLANE_PREFILL_CUH_
#define ANYPREC_KERNELS_CUDA_BIT_PLANE_PREFILL_CUH_

#include <cuda_runtime_api.h>

#include <cstddef>

#include "kernels/cuda/bit_plane_weights.h"

namespace anyprec {

// Bytes of scratch that PrefillBitPlanes needs for `rows` rows of k columns:
// a little more than 2 rows k.
size_t PrefillScratchBytes(int k, int rows);

// y = x W^T, or y += x W^T where `accumulate`.
//   x        [rows, k]  fp32, 16-byte aligned
//   y        [rows, n]  fp32
//   scratch  PrefillScratchBytes(k, rows), 16-byte aligned, overwritten
// Enqueues on `stream` and may return before y is written; `scratch` is in use
// until then.
// REQUIRES: planes [0, precision) and the codebook or scales for `precision`
// are there.
cudaError_t PrefillBitPlanes(const BitPlaneWeights& weights, int precision,
                             const float* x, int rows, float* y,
                             bool accumulate, void* scratch,
                             cudaStream_t stream);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_BIT_PLANE_PREFILL_CUH_
