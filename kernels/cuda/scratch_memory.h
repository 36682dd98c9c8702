// Device memory that operations work in, one after the other in stream order.
#ifndef ANYPREC_KERNELS_CUDA_SCRATCH_MEMORY_H_
#define ANYPREC_KERNELS_CUDA_SCRATCH_MEMORY_H_

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/status_macros.h"

namespace anyprec {

// Grows to the largest need. What it held is lost then, and work that is under
// way on it is waited for. Thread-compatible.
class ScratchMemory {
 public:
  explicit ScratchMemory(absl::string_view what) : what_(what) {}

  // At least `bytes`, aligned to 256. RESOURCE_EXHAUSTED as
  // DeviceMemory::Allocate().
  absl::StatusOr<void*> Reserve(size_t bytes, CudaStream& stream) {
    if (memory_.bytes() < bytes) {
      // Twice as much as before keeps growing steps from waiting time and
      // again.
      const size_t wanted = std::max(bytes, 2 * memory_.bytes());
      RETURN_IF_ERROR(stream.Synchronize());
      memory_ = DeviceMemory();  // first, to make room
      absl::StatusOr<DeviceMemory> grown = stream.Allocate(wanted, what_);
      if (absl::IsResourceExhausted(grown.status()) && wanted > bytes) {
        grown = stream.Allocate(bytes, what_);
      }
      RETURN_IF_ERROR(grown.status());
      memory_ = *std::move(grown);
    }
    return memory_.data();
  }

 private:
  const absl::string_view what_;  // a literal
  DeviceMemory memory_;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_SCRATCH_MEMORY_H_
