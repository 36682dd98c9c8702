// Memory of the current CUDA device, freed by its owner's destructor.
#ifndef ANYPREC_KERNELS_CUDA_DEVICE_MEMORY_H_
#define ANYPREC_KERNELS_CUDA_DEVICE_MEMORY_H_

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/status_macros.h"

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

// `size` elements of T in device memory.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;

  static absl::StatusOr<DeviceArray> Allocate(size_t size,
                                              absl::string_view what) {
    DeviceArray array;
    ASSIGN_OR_RETURN(array.memory_,
                     DeviceMemory::Allocate(size * sizeof(T), what));
    return array;
  }

  T* data() const { return static_cast<T*>(memory_.data()); }
  size_t size() const { return memory_.bytes() / sizeof(T); }
  size_t bytes() const { return memory_.bytes(); }

 private:
  DeviceMemory memory_;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_DEVICE_MEMORY_H_
