// The operations of a decoder that take each row by itself, on a GPU.
//
// Pointers are device memory; matrices are row-major fp32. Each function
// enqueues on `stream` and returns before the work has run; what it returns is
// the launch's own error. No rows are no launch. A row's result depends on that
// row alone: sums run in a fixed order, and there are no atomics.
#ifndef ANYPREC_KERNELS_CUDA_ROW_KERNELS_CUH_
#define ANYPREC_KERNELS_CUDA_ROW_KERNELS_CUH_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/launch_rows.cuh"
#include "kernels/cuda/paged_kv.cuh"

namespace anyprec {

// y = x / sqrt(mean(x^2) + epsilon) * weight, for each row of n.
//   x, y    [rows, n], may be the same
//   weight  [n]
cudaError_t LaunchRmsNorm(const float* x, const float* weight, LaunchRows rows,
                          int n, float epsilon, float* y, cudaStream_t stream);

// y = silu(gate) * up.
//   gate_up  [rows, 2 n]: gate, then up
//   y        [rows, n]
cudaError_t LaunchSiluMul(const float* gate_up, LaunchRows rows, int n,
                          float* y, cudaStream_t stream);

// y[i] = x[indices[i]], each a row of n.
//   indices  [count], device memory
cudaError_t LaunchGatherRows(const float* x, const int32_t* indices, int count,
                             int n, float* y, cudaStream_t stream);

// Rotates q and k of the sequences' rows in place and writes k and v into the
// cache, in the cache's type.
//   rope  [positions, head_dim]: cos then sin, head_dim / 2 of each
//   qkv   [rows, (heads + 2 kv_heads) head_dim]
cudaError_t LaunchRopeAndAppendKv(const SequenceTilesView& sequences,
                                  const KvLayerView& kv, int heads,
                                  const float* rope, float* qkv,
                                  cudaStream_t stream);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_ROW_KERNELS_CUH_
