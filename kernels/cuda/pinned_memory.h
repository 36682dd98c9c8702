// Host memory that the device copies from and to by itself, freed by its
// owner's destructor.
#ifndef ANYPREC_KERNELS_CUDA_PINNED_MEMORY_H_
#define ANYPREC_KERNELS_CUDA_PINNED_MEMORY_H_

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"

namespace anyprec {

// Not initialized. Thread-compatible. No copy under way may use it when it is
// freed.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  ~PinnedMemory();
  PinnedMemory(PinnedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  // RESOURCE_EXHAUSTED names the bytes needed.
  static absl::StatusOr<PinnedMemory> Allocate(size_t bytes);

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_PINNED_MEMORY_H_
