// The CUDA backend: Backend on one NVIDIA GPU.
//
// All work goes through one stream of one device, so that operations may return
// before they have run and still follow each other. What they compute is the
// same whichever way they are launched: sums run in a fixed order, and a row's
// never meets another's.
#ifndef ANYPREC_KERNELS_CUDA_CUDA_BACKEND_H_
#define ANYPREC_KERNELS_CUDA_CUDA_BACKEND_H_

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace anyprec {

struct CudaBackendOptions {
  int device = 0;  // index among the devices that CUDA shows
  // What the partial results of one launch of attention may take, unless those
  // of 8 rows need more. 64 MiB are 16 decode rows of 32 heads of 128 at a
  // context of 30,000 tokens; more rows than fit take turns.
  size_t attention_scratch_bytes = size_t{64} << 20;
  // Whether steps of decode rows run as CUDA graphs (step_graphs.h), which
  // saves the time between launches; results are the same. Off to look at
  // single launches.
  bool graphs = true;
};

// FAILED_PRECONDITION in a build without CUDA, and where there is no driver, no
// such device, or one older than compute capability 8.0.
//
// An operation that finds too little device memory returns RESOURCE_EXHAUSTED
// and leaves the backend as it was. After any other error of CUDA's the device
// is lost: every further call returns that error.
absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(
    const CudaBackendOptions& options);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_CUDA_BACKEND_H_
