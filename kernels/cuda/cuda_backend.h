// The CUDA backend: Backend on one NVIDIA GPU.
#ifndef ANYPREC_KERNELS_CUDA_CUDA_BACKEND_H_
#define ANYPREC_KERNELS_CUDA_CUDA_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace anyprec {

struct CudaBackendOptions {
  int device = 0;  // index among the devices that CUDA shows
};

// FAILED_PRECONDITION in a build without CUDA.
absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(
    const CudaBackendOptions& options);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_CUDA_BACKEND_H_
