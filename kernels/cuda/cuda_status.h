// cudaError_t as absl::Status.
#ifndef ANYPREC_KERNELS_CUDA_CUDA_STATUS_H_
#define ANYPREC_KERNELS_CUDA_CUDA_STATUS_H_

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// OK, or what `attempted` ("copying 4096 bytes to the device") met with:
//   RESOURCE_EXHAUSTED   no memory left
//   FAILED_PRECONDITION  no device, no driver, or one too old for this build
//   INTERNAL             anything else; the device may be lost
absl::Status CudaStatus(cudaError_t error, absl::string_view attempted);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_CUDA_STATUS_H_
