// An emulated device behind the functions of cuda_runtime_api.h that our host
// code calls, and what tests may do to it.
//
// Device memory is host memory full of NaNs. Work of a stream runs when the
// seed says so, at the latest when the host waits for it, as on a GPU: results
// must not be read before. Kernels' failures are sticky: every later call
// returns them. During a stream's capture its work is recorded, and runs where
// the graph is launched.
//
// Only so many of CUDA's functions are there as we call. Thread-safe.
#ifndef ANYPREC_KERNELS_CUDA_EMULATION_RUNTIME_H_
#define ANYPREC_KERNELS_CUDA_EMULATION_RUNTIME_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace anyprec::emulation {

// What Launch() of launch.cuh comes to: cudaLaunchKernelExC of a kernel with
// its arguments bound.
cudaError_t Launch(dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, std::function<void()> kernel);

// ---- For tests ----

// As in a fresh process: one device, no memory taken, no error. Streams,
// events, graphs and memory of before are gone.
void ResetDevice();

// Orders what CUDA leaves open, from the next call on; 0: in order and at once.
// The default is 1.
void SetSeed(uint64_t seed);

// The default is 1 GiB.
void SetDeviceMemory(size_t bytes);
size_t DeviceBytesInUse();

// 0: as on a machine without a GPU.
void SetDeviceCount(int count);

// The `nth` call of `function` from now on (1: the next one) does nothing and
// returns `error`. Launches count as calls of "cudaLaunchKernelExC".
void FailCall(const std::string& function, int nth, cudaError_t error);

// Which block and thread failed, and how; "" where no kernel has.
std::string KernelFailure();

}  // namespace anyprec::emulation

#endif  // ANYPREC_KERNELS_CUDA_EMULATION_RUNTIME_H_
