// Launching kernels and naming shared memory, alike on a GPU and in emulation.
// Nothing else launches, or declares shared memory.
#ifndef ANYPREC_KERNELS_CUDA_LAUNCH_CUH_
#define ANYPREC_KERNELS_CUDA_LAUNCH_CUH_

#ifdef __CUDACC__
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <tuple>
#include <vector>

#include "kernels/cuda/emulation/builtins.h"
#include "kernels/cuda/emulation/runtime.h"
#endif

#include <cstddef>
#include <cstdint>

namespace anyprec {

// The block's dynamic shared memory.
template <class T>
__device__ __forceinline__ T* DynamicShared() {
#ifdef __CUDACC__
  extern __shared__ __align__(128) unsigned char dynamic_shared[];
  return reinterpret_cast<T*>(dynamic_shared);
#else
  return static_cast<T*>(emulation::Shared(nullptr));
#endif
}

// The block's only T in static shared memory: use a struct of the kernel's own.
template <class T>
__device__ __forceinline__ T& StaticShared() {
#ifdef __CUDACC__
  __shared__ T shared;
  return shared;
#else
  static char key;
  return *static_cast<T*>(emulation::Shared(&key, sizeof(T)));
#endif
}

// Enqueues kernel(args...) on `stream`. An error is of the launch, or of
// earlier work: a kernel's own failure comes with a later call.
template <class... Params, class... Args>
cudaError_t Launch(void (*kernel)(Params...), dim3 grid, dim3 block,
                   size_t shared_bytes, cudaStream_t stream, Args... args) {
#ifdef __CUDACC__
  // What every kernel may have without asking for more.
  constexpr size_t kDefaultSharedBytes = 48 << 10;
  if (shared_bytes > kDefaultSharedBytes) {
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
        static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...);
#else
  const std::tuple<Params...> params(args...);
  std::vector<const void*> words;
  std::apply(
      [&](const Params&... param) {
        (emulation::AppendWords(param, words), ...);
      },
      params);
  return emulation::Launch(
      grid, block, shared_bytes, stream,
      [kernel, params] { std::apply(kernel, params); }, words);
#endif
}

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_LAUNCH_CUH_
