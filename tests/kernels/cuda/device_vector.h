// A vector in device memory, for tests.
#ifndef ANYPREC_TESTS_KERNELS_CUDA_DEVICE_VECTOR_H_
#define ANYPREC_TESTS_KERNELS_CUDA_DEVICE_VECTOR_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "kernels/cuda/device_memory.h"

namespace anyprec {

// Any error ends the process. Not thread-safe.
template <class T>
class DeviceVector {
 public:
  // Of `size` elements that nobody has written.
  explicit DeviceVector(size_t size) {
    auto array = DeviceArray<T>::Allocate(size, "a test's vector");
    ANYPREC_CHECK(array.ok()) << array.status().message();
    array_ = *std::move(array);
  }
  explicit DeviceVector(const std::vector<T>& values)
      : DeviceVector(values.size()) {
    Copy(array_.data(), values.data(), cudaMemcpyHostToDevice);
  }

  T* data() const { return array_.data(); }
  size_t size() const { return array_.size(); }

  // Waits for what the default stream has to do first.
  std::vector<T> Get() const {
    std::vector<T> values(array_.size());
    Copy(values.data(), array_.data(), cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  void Copy(T* to, const T* from, cudaMemcpyKind kind) const {
    cudaError_t error =
        cudaMemcpyAsync(to, from, array_.bytes(), kind, nullptr);
    if (error == cudaSuccess) error = cudaStreamSynchronize(nullptr);
    ANYPREC_CHECK(error == cudaSuccess) << cudaGetErrorString(error);
  }

  DeviceArray<T> array_;
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_KERNELS_CUDA_DEVICE_VECTOR_H_
