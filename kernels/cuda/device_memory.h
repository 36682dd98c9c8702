// Memory of the current CUDA device, freed by its owner's destructor.
#ifndef ANYPREC_KERNELS_CUDA_DEVICE_MEMORY_H_
#define ANYPREC_KERNELS_CUDA_DEVICE_MEMORY_H_

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// `bytes` of device memory, not initialized, aligned to 256 bytes. Not
// thread-safe. No work under way may use it when it is freed.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  ~DeviceMemory() { Free(); }
  DeviceMemory(DeviceMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  // `what` is for the message ("the KV cache"). RESOURCE_EXHAUSTED, with the
  // bytes needed and free, where the device has too few.
  static absl::StatusOr<DeviceMemory> Allocate(size_t bytes,
                                               absl::string_view what);

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void Free();

  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_DEVICE_MEMORY_H_
