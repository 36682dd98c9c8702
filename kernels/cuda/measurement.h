// What the benchmarks of this folder measure with: contenders that are timed in
// turns, so that changing clocks hit all alike, and the device's own copies,
// which are one of them.
#ifndef ANYPREC_KERNELS_CUDA_MEASUREMENT_H_
#define ANYPREC_KERNELS_CUDA_MEASUREMENT_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/device_timer.h"
#include "kernels/cuda/recorded_work.h"

namespace anyprec {

struct MeasurementOptions {
  bool graph = false;  // each sample is one CUDA graph
  int repeats = 11;    // samples, of which the median counts
  // That the copies of what is read amount to: several times the L2 cache.
  size_t rotation_bytes = size_t{256} << 20;
  size_t copy_bytes = size_t{256} << 20;     // of a copy, once
  absl::Time stop = absl::InfiniteFuture();  // begin nothing after this
};

// INVALID_ARGUMENT names the option.
absl::Status ValidateMeasurement(const MeasurementOptions& options);

// Something to time: run once, and recorded where a graph is wanted.
class Contender {
 public:
  // `stream` and what `enqueue` refers to must outlive the contender.
  Contender(CudaStream& stream, std::function<absl::Status()> enqueue)
      : stream_(stream), enqueue_(std::move(enqueue)) {}

  absl::Status WarmUp(bool graph);
  absl::Status Sample(DeviceTimer& timer);

  // REQUIRES: at least one sample.
  double MedianSeconds() const;

 private:
  CudaStream& stream_;
  const std::function<absl::Status()> enqueue_;
  std::unique_ptr<RecordedWork> recorded_;
  std::vector<double> samples_;
};

// Warms up the contenders and lets each of them have a sample in turn.
absl::Status TakeTurns(const MeasurementOptions& options,
                       std::span<Contender* const> contenders,
                       DeviceTimer& timer);

// The halves of one piece of memory, copied from one to the other.
class CopyBuffers {
 public:
  absl::Status Allocate(size_t bytes, CudaStream& stream);
  absl::Status Copy(CudaStream& stream) const;

 private:
  size_t bytes_ = 0;
  DeviceMemory memory_;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_MEASUREMENT_H_
