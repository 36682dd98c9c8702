// Drawing tokens from rows of logits on a GPU, as kernels/sampling.h has it.
//
// Pointers are device memory. Sums are of integers: their order means nothing,
// and a draw depends on its own row alone.
#ifndef ANYPREC_KERNELS_CUDA_SAMPLING_CUH_
#define ANYPREC_KERNELS_CUDA_SAMPLING_CUH_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/sampling.h"

namespace anyprec {

// A TokenDraw, worked out as far as the host can without the row.
struct PreparedDraw {
  PreparedDraw(const TokenDraw& draw, int n);

  int32_t row;
  bool greedy;
  float scale;         // ScaleOf()
  float least_offset;  // LeastOffset()
  int32_t top_k;       // 0 where it leaves nothing out
  float top_p;
  RandomStream random;
};

// Of the memory that LaunchSample() works in, aligned to 8.
size_t SampleScratchBytes(int count, int n);

// tokens[i] = what draws[i] draws from its row of x, or kNotFinite. Enqueues on
// `stream` and returns before the work has run; what it returns is the launch's
// own error.
//   x       [.., n]
//   draws   [count]
//   tokens  [count]
cudaError_t LaunchSample(const float* x, const PreparedDraw* draws, int count,
                         int n, void* scratch, int32_t* tokens,
                         cudaStream_t stream);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_SAMPLING_CUH_
