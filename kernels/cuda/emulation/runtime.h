// An emulated device behind the functions of cuda_runtime_api.h that our host
// code calls, and what tests may do to it.
//
// Device memory is host memory full of NaNs. Work of a stream runs when the
// seed says so, at the latest when the host waits for it, as on a GPU: results
// must not be read before. Kernels' failures are sticky: every later call
// returns them.
//
// During a stream's capture its work is recorded, and runs where the graph is
// launched, with the arguments of then. As on a GPU, allocating, freeing and
// waiting break a capture. Stricter than a GPU: so does a copy from or to host
// memory that is not pinned, which a graph would read or write at every launch;
// and a launch fails where memory that the graph was captured with is gone,
// which a GPU would use regardless. A graph that can be launched takes memory.
//
// Only so many of CUDA's functions are there as we call. Thread-safe.
#ifndef ANYPREC_KERNELS_CUDA_EMULATION_RUNTIME_H_
#define ANYPREC_KERNELS_CUDA_EMULATION_RUNTIME_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace anyprec::emulation {

// What Launch() of launch.cuh comes to: cudaLaunchKernelExC of a kernel with
// its arguments bound.
//   words  of the arguments; those that point into device memory are what the
//          kernel uses of it
cudaError_t Launch(dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, std::function<void()> kernel,
                   std::span<const void* const> words);

// Appends all words of `argument` that a pointer could be.
template <class T>
void AppendWords(const T& argument, std::vector<const void*>& words) {
  const auto* const bytes = reinterpret_cast<const char*>(&argument);
  for (size_t i = 0; i + sizeof(void*) <= sizeof(T); i += sizeof(void*)) {
    const void* word;
    std::memcpy(&word, bytes + i, sizeof(word));
    words.push_back(word);
  }
}

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
// returns `error`, and breaks captures. Launches count as calls of
// "cudaLaunchKernelExC".
void FailCall(const std::string& function, int nth, cudaError_t error);

// How often `function` was called since the last ResetDevice(), by the names
// that FailCall() knows.
int Calls(const std::string& function);

// Which block and thread failed, and how; "" where no kernel has.
std::string KernelFailure();

}  // namespace anyprec::emulation

#endif  // ANYPREC_KERNELS_CUDA_EMULATION_RUNTIME_H_
