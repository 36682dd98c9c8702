#include "kernels/cuda/cublas.h"

#include <dlfcn.h>

#include <cstddef>
#include <cstdlib>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// As cublas_api.h declares them since version 11; the toolkit's headers need
// not be there.
constexpr int kOperationN = 0;
constexpr int kOperationT = 1;
constexpr int kFloat16Type = 2;      // CUDA_R_16F
constexpr int kComputeFloat32 = 68;  // CUBLAS_COMPUTE_32F
constexpr int kDefaultAlgorithm = -1;

// What NVIDIA advises for Hopper; a fixed one lets products be recorded.
constexpr size_t kWorkspaceBytes = size_t{32} << 20;

absl::Status CublasStatus(int status, absl::string_view attempted) {
  if (status == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(attempted, ": cuBLAS status ", status));
}

}  // namespace

struct Cublas::Functions {
  int (*create)(void** handle) = nullptr;
  int (*destroy)(void* handle) = nullptr;
  int (*get_version)(void* handle, int* version) = nullptr;
  int (*set_stream)(void* handle, cudaStream_t stream) = nullptr;
  int (*set_workspace)(void* handle, void* workspace, size_t bytes) = nullptr;
  int (*gemm)(void* handle, int transpose_a, int transpose_b, int m, int n,
              int k, const void* alpha, const void* a, int a_type, int lda,
              const void* b, int b_type, int ldb, const void* beta, void* c,
              int c_type, int ldc, int compute, int algorithm) = nullptr;
};

std::vector<std::string> CublasPaths() {
  std::vector<std::string> paths;
  for (const char* name :
       {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
    paths.emplace_back(name);
  }
  const char* const home = std::getenv("CUDA_HOME");
  const std::string root = home != nullptr ? home : "/usr/local/cuda";
  // The toolkit's own place, then the wheels' of CUDA 13 and 12.
  for (const char* place :
       {"/lib64/libcublas.so.13", "/lib/libcublas.so.13",
        "/lib64/libcublas.so.12", "/../cublas/lib/libcublas.so.12"}) {
    paths.push_back(absl::StrCat(root, place));
  }
  return paths;
}

Cublas::Cublas() : functions_(std::make_unique<Functions>()) {}

Cublas::~Cublas() {
  if (handle_ != nullptr) functions_->destroy(handle_);
  if (library_ != nullptr) dlclose(library_);
}

absl::StatusOr<std::unique_ptr<Cublas>> Cublas::Open(
    std::span<const std::string> paths, CudaStream& stream) {
  auto cublas = absl::WrapUnique(new Cublas);
  for (const std::string& path : paths) {
    cublas->library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (cublas->library_ != nullptr) break;
  }
  if (cublas->library_ == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("no cuBLAS; tried ", absl::StrJoin(paths, ", ")));
  }
  Functions& functions = *cublas->functions_;
  std::string missing;
  const auto find = [&]<class F>(const char* name, F*& function) {
    function = reinterpret_cast<F*>(dlsym(cublas->library_, name));
    if (function == nullptr) missing = name;
  };
  find("cublasCreate_v2", functions.create);
  find("cublasDestroy_v2", functions.destroy);
  find("cublasGetVersion_v2", functions.get_version);
  find("cublasSetStream_v2", functions.set_stream);
  find("cublasSetWorkspace_v2", functions.set_workspace);
  find("cublasGemmEx", functions.gemm);
  if (!missing.empty()) {
    return absl::NotFoundError(absl::StrCat("cuBLAS has no ", missing));
  }
  ASSIGN_OR_RETURN(cublas->workspace_,
                   stream.Allocate(kWorkspaceBytes, "cuBLAS's workspace"));
  RETURN_IF_ERROR(
      CublasStatus(functions.create(&cublas->handle_), "opening cuBLAS"));
  RETURN_IF_ERROR(
      CublasStatus(functions.get_version(cublas->handle_, &cublas->version_),
                   "asking for cuBLAS's version"));
  RETURN_IF_ERROR(
      CublasStatus(functions.set_stream(cublas->handle_, stream.get()),
                   "giving cuBLAS a stream"));
  RETURN_IF_ERROR(CublasStatus(
      functions.set_workspace(cublas->handle_, cublas->workspace_.data(),
                              kWorkspaceBytes),
      "giving cuBLAS its workspace"));
  return cublas;
}

absl::Status Cublas::Multiply(const Float16* x, const Float16* w, int rows,
                              int n, int k, Float16* y) {
  const float one = 1;
  const float zero = 0;
  // Column-major, as cuBLAS counts, y is [n, rows] = W^T' x'.
  return CublasStatus(
      functions_->gemm(handle_, kOperationT, kOperationN, n, rows, k, &one, w,
                       kFloat16Type, k, x, kFloat16Type, k, &zero, y,
                       kFloat16Type, n, kComputeFloat32, kDefaultAlgorithm),
      "multiplying with cuBLAS");
}

}  // namespace anyprec
