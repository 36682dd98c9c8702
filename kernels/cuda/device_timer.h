// Times on the device, for benchmarks: events around what is enqueued.
#ifndef ANYPREC_KERNELS_CUDA_DEVICE_TIMER_H_
#define ANYPREC_KERNELS_CUDA_DEVICE_TIMER_H_

#include <cuda_runtime_api.h>

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/cuda_stream.h"

namespace anyprec {

// Thread-compatible.
class DeviceTimer {
 public:
  // `stream` must outlive the timer.
  static absl::StatusOr<std::unique_ptr<DeviceTimer>> Create(
      CudaStream& stream);
  ~DeviceTimer();

  DeviceTimer(const DeviceTimer&) = delete;
  DeviceTimer& operator=(const DeviceTimer&) = delete;

  // Seconds from the beginning of what `enqueue` puts on the stream to its end;
  // waits for it.
  absl::StatusOr<double> Time(absl::FunctionRef<absl::Status()> enqueue);

 private:
  explicit DeviceTimer(CudaStream& stream) : stream_(stream) {}

  CudaStream& stream_;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_DEVICE_TIMER_H_
