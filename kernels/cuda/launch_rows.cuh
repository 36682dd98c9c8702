// LaunchRows: how many rows a launch is about, for host and device code alike.
#ifndef ANYPREC_KERNELS_CUDA_LAUNCH_ROWS_CUH_
#define ANYPREC_KERNELS_CUDA_LAUNCH_ROWS_CUH_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace anyprec {

// `count` rows; in a launch for a graph as many of them as the device knows
// when it runs, and blocks of the others have nothing to do.
class LaunchRows {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): rows are a number mostly.
  LaunchRows(int count) : count_(count) {}
  //   live  device memory; at most `count`
  LaunchRows(int count, const int32_t* live) : count_(count), live_(live) {}

  // How many the launch must have blocks for.
  int count() const { return count_; }
  // How many there are.
  __device__ int live() const { return live_ == nullptr ? count_ : *live_; }

 private:
  int count_;
  const int32_t* live_ = nullptr;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_LAUNCH_ROWS_CUH_
