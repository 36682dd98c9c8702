// Products with layers whose weights are stored as numbers, and the embedding.
//
// fp32 throughout: weights are converted exactly, int8 sums are multiplied by
// their row's scale at the end. A row of y is a function of its row of x and
// the weights, bit for bit, whatever rows share the call.
#ifndef ANYPREC_KERNELS_CUDA_DENSE_MATMUL_CUH_
#define ANYPREC_KERNELS_CUDA_DENSE_MATMUL_CUH_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/launch_rows.cuh"

namespace anyprec {

// Of one weight.
size_t ElementBytes(DenseMatrix::Type type);

// A view of W[n, k] in GPU memory; parts of a layer are stacked along n.
struct DenseWeights {
  DenseMatrix::Type type = DenseMatrix::Type::kFloat32;
  const void* data = nullptr;         // [n, k], row-major
  const float* row_scales = nullptr;  // [n] for kInt8, else null
  int n = 0;
  int k = 0;
};

// y = x W^T, or y += x W^T where `accumulate`.
//   x  [rows, k]  fp32
//   y  [rows, n]  fp32
// Enqueues on `stream` and may return before y is written. Reads 16 bytes at a
// time where rows of W and x begin at multiples of 16 bytes; the result is the
// same where not.
cudaError_t MultiplyDense(const DenseWeights& weights, const float* x,
                          LaunchRows rows, float* y, bool accumulate,
                          cudaStream_t stream);

// y[i] = W[ids[i]] for i in [0, count).
//   ids  [count]     in GPU memory, each in [0, n)
//   y    [count, k]  fp32
// Enqueues on `stream` and may return before y is written.
cudaError_t EmbedDense(const DenseWeights& weights, const int32_t* ids,
                       LaunchRows count, float* y, cudaStream_t stream);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_DENSE_MATMUL_CUH_
