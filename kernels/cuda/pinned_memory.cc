#include "kernels/cuda/pinned_memory.h"

#include <cuda_runtime_api.h>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_status.h"

namespace anyprec {

PinnedMemory::~PinnedMemory() {
  // A device that failed earlier says so again here; its user knows already.
  if (data_ != nullptr) cudaFreeHost(data_);
}

absl::StatusOr<PinnedMemory> PinnedMemory::Allocate(size_t bytes) {
  PinnedMemory memory;
  if (bytes == 0) return memory;
  const cudaError_t error = cudaMallocHost(&memory.data_, bytes);
  if (error == cudaSuccess) {
    memory.bytes_ = bytes;
    return memory;
  }
  memory.data_ = nullptr;
  // Clears the last error: whoever asks for it after a launch, as tools do,
  // would blame the launch.
  cudaGetLastError();
  return CudaStatus(error, absl::StrCat("allocating ", bytes,
                                        " bytes of host memory for copies"));
}

}  // namespace anyprec
