#include "kernels/cuda/device_memory.h"

#include <cuda_runtime_api.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_status.h"

namespace anyprec {

absl::StatusOr<DeviceMemory> DeviceMemory::Allocate(size_t bytes,
                                                    absl::string_view what) {
  DeviceMemory memory;
  if (bytes == 0) return memory;
  const cudaError_t error = cudaMalloc(&memory.data_, bytes);
  if (error == cudaSuccess) {
    memory.bytes_ = bytes;
    return memory;
  }
  memory.data_ = nullptr;
  // Clears the last error: whoever asks for it after a launch, as tools do,
  // would blame the launch.
  cudaGetLastError();
  std::string attempted =
      absl::StrCat("allocating ", what, ", ", bytes, " bytes of device memory");
  size_t free_bytes = 0, total_bytes = 0;
  if (cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess) {
    absl::StrAppend(&attempted, ", of which ", free_bytes, " of ", total_bytes,
                    " are free");
  }
  return CudaStatus(error, attempted);
}

void DeviceMemory::Free() {
  // A device that failed earlier says so again here; its user knows already.
  if (data_ != nullptr) cudaFree(data_);
}

}  // namespace anyprec
