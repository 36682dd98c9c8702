// A std::vector's content in device memory, for tests.
#ifndef ANYPREC_TESTS_KERNELS_CUDA_DEVICE_VECTOR_H_
#define ANYPREC_TESTS_KERNELS_CUDA_DEVICE_VECTOR_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "kernels/cuda/device_memory.h"

namespace anyprec {

// Fails the test where a CUDA call fails. Not thread-safe.
template <class T>
class DeviceVector {
 public:
  explicit DeviceVector(const std::vector<T>& values) : size_(values.size()) {
    if (size_ == 0) return;
    absl::StatusOr<DeviceMemory> memory =
        DeviceMemory::Allocate(size_ * sizeof(T), "a test's vector");
    EXPECT_TRUE(memory.ok()) << memory.status();
    if (!memory.ok()) return;
    memory_ = *std::move(memory);
    Copy(data(), values.data(), cudaMemcpyHostToDevice);
  }

  T* data() const { return static_cast<T*>(memory_.data()); }

  // Waits for all work on the default stream.
  std::vector<T> Read() const {
    std::vector<T> values(size_);
    if (size_ > 0) Copy(values.data(), data(), cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  void Copy(T* to, const T* from, cudaMemcpyKind kind) const {
    EXPECT_EQ(
        cudaMemcpyAsync(to, from, size_ * sizeof(T), kind, /*stream=*/nullptr),
        cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
  }

  size_t size_;
  DeviceMemory memory_;
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_KERNELS_CUDA_DEVICE_VECTOR_H_
