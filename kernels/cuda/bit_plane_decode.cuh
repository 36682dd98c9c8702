// The product of a bit-plane layer with decode rows.
//
// fp32 throughout: exact weights, fused multiply-adds. A row of y is a
// function of its row of x, the weights and the precision, bit for bit: every
// thread adds up the same columns in the same order however many rows there
// are.
#ifndef ANYPREC_KERNELS_CUDA_BIT_PLANE_DECODE_CUH_
#define ANYPREC_KERNELS_CUDA_BIT_PLANE_DECODE_CUH_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/bit_plane_weights.h"

namespace anyprec {

// y = x W^T, or y += x W^T where `accumulate`.
//   x  [rows, k]  fp32, 16-byte aligned
//   y  [rows, n]  fp32
// Enqueues on `stream` and may return before y is written.
// REQUIRES: planes [0, precision) and the codebook or scales for `precision`
// are there.
cudaError_t DecodeBitPlanes(const BitPlaneWeights& weights, int precision,
                            const float* x, int rows, float* y, bool accumulate,
                            cudaStream_t stream);

// Consecutive rows of one precision.
struct DecodeSlice {
  int32_t first_row;
  int32_t rows;  // at most MaxSliceRows()
  int32_t precision;
};

// The most rows of a slice, where a step has up to `max_rows`.
int MaxSliceRows(int max_rows);

// The highest precision that a launch for slices of up to `max_precision` can
// do: 4, 6 or 8.
int MaxSlicePrecision(int max_precision);

// Slices of up to MaxSliceRows(max_rows) rows, in device memory.
struct DecodeSlices {
  const DecodeSlice* slices = nullptr;
  const int32_t* count = nullptr;
  int max_rows = 0;       // of all slices together
  int max_precision = 0;  // the highest that a slice may have
};

// The same for rows of several precisions in one launch, which reads the slices
// when it runs. A row's result has the same bits either way.
//   x  [.., k]   y  [.., n]   of which the slices name rows
// REQUIRES: planes [0, max_precision), and codebooks or scales for
// max_precision and the slices' precisions.
cudaError_t DecodeBitPlaneSlices(const BitPlaneWeights& weights,
                                 const DecodeSlices& slices, const float* x,
                                 float* y, bool accumulate,
                                 cudaStream_t stream);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_BIT_PLANE_DECODE_CUH_
