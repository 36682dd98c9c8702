// CudaStream: one device, the one stream that all work of a backend goes
// through, and the host's copies into and out of it.
//
// Thread-compatible. Calls may come from different threads in turn.
#ifndef ANYPREC_KERNELS_CUDA_CUDA_STREAM_H_
#define ANYPREC_KERNELS_CUDA_CUDA_STREAM_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <span>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/pinned_memory.h"

namespace anyprec {

class CudaStream {
 public:
  // A stream of `device`.
  static absl::StatusOr<std::unique_ptr<CudaStream>> Create(int device);

  // Waits for what is enqueued.
  ~CudaStream();

  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  cudaStream_t get() const { return stream_; }

  // To be called before anything else is asked of the device: makes it the
  // calling thread's. Once the device is lost, the error that lost it.
  absl::Status Ready();

  // Passes on what became of `attempted`. Any error but RESOURCE_EXHAUSTED
  // loses the device: CUDA repeats it with every later call, or what was
  // enqueued is in an unknown state.
  absl::Status Check(cudaError_t error, absl::string_view attempted);

  // DeviceMemory::Allocate(), checked likewise.
  absl::StatusOr<DeviceMemory> Allocate(size_t bytes, absl::string_view what);

  // Copies to device memory behind all that is enqueued. `source` may change
  // as soon as this returns.
  absl::Status Upload(const void* source, size_t bytes, void* destination);

  // Waits for all that is enqueued and copies from device memory. The view
  // lasts until the next Download().
  template <typename T>
  absl::StatusOr<std::span<const T>> Download(const T* source, size_t count) {
    const absl::StatusOr<const void*> copy =
        DownloadBytes(source, count * sizeof(T));
    if (!copy.ok()) return copy.status();
    return std::span(static_cast<const T*>(*copy), count);
  }

  absl::Status Synchronize();

 private:
  explicit CudaStream(int device) : device_(device) {}

  // Null where there are no bytes.
  absl::StatusOr<const void*> DownloadBytes(const void* source, size_t bytes);

  absl::Status Note(absl::Status status);

  const int device_;
  cudaStream_t stream_ = nullptr;
  std::thread::id thread_;  // whose current device is ours
  absl::Status lost_;
  // Sources of copies under way; free again once the stream was waited for.
  PinnedMemory staging_;
  size_t staged_bytes_ = 0;
  PinnedMemory download_;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_CUDA_STREAM_H_
