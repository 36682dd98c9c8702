#include "kernels/cuda/measurement.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "kernels/status_macros.h"

namespace anyprec {

absl::Status ValidateMeasurement(const MeasurementOptions& options) {
  if (options.repeats < 1 || options.copy_bytes < 1) {
    return absl::InvalidArgumentError(
        "repeats and copy_bytes must be at least 1");
  }
  return absl::OkStatus();
}

absl::Status Contender::WarmUp(bool graph) {
  RETURN_IF_ERROR(enqueue_());
  if (graph) {
    RETURN_IF_ERROR(stream_.Synchronize());
    ASSIGN_OR_RETURN(recorded_,
                     RecordedWork::Record("a sample", stream_, enqueue_));
    RETURN_IF_ERROR(recorded_->Launch(stream_));
  }
  return stream_.Synchronize();
}

absl::Status Contender::Sample(DeviceTimer& timer) {
  ASSIGN_OR_RETURN(const double seconds, timer.Time([&] {
    return recorded_ != nullptr ? recorded_->Launch(stream_) : enqueue_();
  }));
  samples_.push_back(seconds);
  return absl::OkStatus();
}

double Contender::MedianSeconds() const {
  std::vector<double> samples = samples_;
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

absl::Status TakeTurns(const MeasurementOptions& options,
                       std::span<Contender* const> contenders,
                       DeviceTimer& timer) {
  for (Contender* const contender : contenders) {
    RETURN_IF_ERROR(contender->WarmUp(options.graph));
  }
  for (int i = 0; i < options.repeats; ++i) {
    for (Contender* const contender : contenders) {
      RETURN_IF_ERROR(contender->Sample(timer));
    }
  }
  return absl::OkStatus();
}

absl::Status CopyBuffers::Allocate(size_t bytes, CudaStream& stream) {
  bytes_ = bytes;
  ASSIGN_OR_RETURN(memory_, stream.Allocate(2 * bytes, "copies"));
  return stream.Check(
      cudaMemsetAsync(memory_.data(), 1, 2 * bytes, stream.get()),
      "filling memory");
}

absl::Status CopyBuffers::Copy(CudaStream& stream) const {
  auto* const data = static_cast<char*>(memory_.data());
  return stream.Check(cudaMemcpyAsync(data + bytes_, data, bytes_,
                                      cudaMemcpyDeviceToDevice, stream.get()),
                      "copying on the device");
}

}  // namespace anyprec
