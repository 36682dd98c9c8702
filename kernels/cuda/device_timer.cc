#include "kernels/cuda/device_timer.h"

#include "absl/memory/memory.h"
#include "kernels/status_macros.h"

namespace anyprec {

absl::StatusOr<std::unique_ptr<DeviceTimer>> DeviceTimer::Create(
    CudaStream& stream) {
  RETURN_IF_ERROR(stream.Ready());
  auto timer = absl::WrapUnique(new DeviceTimer(stream));
  for (cudaEvent_t* const event : {&timer->begin_, &timer->end_}) {
    RETURN_IF_ERROR(
        stream.Check(cudaEventCreateWithFlags(event, cudaEventDefault),
                     "creating an event"));
  }
  return timer;
}

DeviceTimer::~DeviceTimer() {
  // Errors are no news to anyone any more.
  if (begin_ != nullptr) cudaEventDestroy(begin_);
  if (end_ != nullptr) cudaEventDestroy(end_);
}

absl::StatusOr<double> DeviceTimer::Time(
    absl::FunctionRef<absl::Status()> enqueue) {
  RETURN_IF_ERROR(stream_.Check(cudaEventRecord(begin_, stream_.get()),
                                "recording an event"));
  RETURN_IF_ERROR(enqueue());
  RETURN_IF_ERROR(stream_.Check(cudaEventRecord(end_, stream_.get()),
                                "recording an event"));
  RETURN_IF_ERROR(stream_.Synchronize());
  float ms = 0;
  RETURN_IF_ERROR(
      stream_.Check(cudaEventElapsedTime(&ms, begin_, end_), "reading a time"));
  return ms * 1e-3;
}

}  // namespace anyprec
