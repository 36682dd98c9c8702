// Stands in for the CUDA backend in builds that have none.
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_backend.h"

namespace anyprec {

absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(
    const CudaBackendOptions& options) {
  return absl::FailedPreconditionError(
      absl::StrCat("CUDA device ", options.device,
                   " was asked for, but this build has no CUDA backend; run "
                   "with --device=cpu"));
}

}  // namespace anyprec
