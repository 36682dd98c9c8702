// cuBLAS, which benchmarks compare with and nothing else uses: loaded where it
// is found, so that no program needs it.
#ifndef ANYPREC_KERNELS_CUDA_CUBLAS_H_
#define ANYPREC_KERNELS_CUDA_CUBLAS_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/types.h"

namespace anyprec {

// Where the library may be: what the loader finds by its name, then CUDA_HOME
// and the wheels beside it.
std::vector<std::string> CublasPaths();

// Thread-compatible.
class Cublas {
 public:
  // The first of `paths` that loads, working on `stream`, which must outlive
  // it. NOT_FOUND lists what was tried.
  static absl::StatusOr<std::unique_ptr<Cublas>> Open(
      std::span<const std::string> paths, CudaStream& stream);
  ~Cublas();

  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  // cuBLAS's own number, such as 130000.
  int version() const { return version_; }

  // Enqueues y = x W^T in fp16, accumulated in fp32.
  //   x  [rows, k]   w  [n, k]   y  [rows, n]
  absl::Status Multiply(const Float16* x, const Float16* w, int rows, int n,
                        int k, Float16* y);

 private:
  struct Functions;

  Cublas();

  void* library_ = nullptr;
  std::unique_ptr<Functions> functions_;
  void* handle_ = nullptr;
  DeviceMemory workspace_;
  int version_ = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_CUBLAS_H_
