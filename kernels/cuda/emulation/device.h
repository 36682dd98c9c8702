// The state of the emulated device, shared by the emulated runtime's functions.
#ifndef ANYPREC_KERNELS_CUDA_EMULATION_DEVICE_H_
#define ANYPREC_KERNELS_CUDA_EMULATION_DEVICE_H_

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/emulation/guarded_array.h"

namespace anyprec::emulation {

// A launch, a copy, the time stamp of an event.
using Work = std::function<cudaError_t()>;

}  // namespace anyprec::emulation

// CUDA leaves these to whoever implements it.
// NOLINTBEGIN(readability-identifier-naming)
struct CUgraph_st {
  std::vector<anyprec::emulation::Work> work;
};
struct CUgraphExec_st {
  std::vector<anyprec::emulation::Work> work;
  size_t bytes;  // of device memory
};
// NOLINTEND(readability-identifier-naming)

namespace anyprec::emulation {

// What a graph takes of the device's memory for each launch in it. On a GPU it
// depends on the driver.
inline constexpr size_t kGraphBytesPerLaunch = 1024;

// Bytes that work reads or writes.
struct MemoryRange {
  const void* first = nullptr;
  size_t bytes = 0;
};

struct Stream {
  std::deque<Work> pending;
  bool captures = false;
  cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
  bool capture_broken = false;
  std::vector<Work> captured;
};

struct InjectedError {
  std::string function;
  int calls_before;
  cudaError_t error;
};

using Arrays = std::map<const void*, GuardedArray>;  // by first address

// Whether one of the arrays holds all of the range.
bool HoldsAll(const Arrays& arrays, const MemoryRange& range);

// Guarded by `mutex`, which ApiCall() holds.
struct Device {
  std::mutex mutex;
  int count = 1;
  size_t memory_bytes = size_t{1} << 30;
  size_t bytes_in_use = 0;
  Arrays memory;
  Arrays pinned;  // host memory
  Stream default_stream;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<std::unique_ptr<CUgraphExec_st>> graphs;
  uint64_t seed = 1;
  uint64_t launches = 0;
  std::mt19937_64 random{1};
  std::map<std::string, int> calls;  // by function
  std::vector<InjectedError> injected;
  cudaError_t last_error = cudaSuccess;
  cudaError_t sticky_error = cudaSuccess;
  std::string kernel_failure;

  // What a call of `function` returns before it does anything.
  cudaError_t Admit(const char* function);
  cudaError_t Record(cudaError_t error);

  size_t FreeBytes() const {
    return memory_bytes - std::min(memory_bytes, bytes_in_use);
  }

  // For functions that may not run during a capture. Breaks those under way.
  cudaError_t ForbidDuringCapture();

  // Runs what the stream, or every stream, has pending.
  cudaError_t Drain(Stream& stream);
  cudaError_t DrainAll();

  // Whether `range` lies in an allocation, of the device or pinned.
  bool Holds(const MemoryRange& range) const;

  // Puts work behind all that the stream has, and perhaps runs it. During a
  // capture records it: it then fails where a launch of its graph finds one of
  // the ranges that it uses freed.
  cudaError_t Enqueue(Stream& stream, Work work,
                      std::vector<MemoryRange> uses = {});
};

Device& TheDevice();

// Null where there is no such stream.
Stream* FindStream(Device& device, cudaStream_t handle);

// Runs body(device) as the runtime's `function`.
template <class Body>
cudaError_t ApiCall(const char* function, Body body) {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  const cudaError_t error = device.Admit(function);
  return device.Record(error == cudaSuccess ? body(device) : error);
}

}  // namespace anyprec::emulation

#endif  // ANYPREC_KERNELS_CUDA_EMULATION_DEVICE_H_
