#include "kernels/cuda/emulation/device.h"

#include <cstdio>
#include <iterator>
#include <utility>

#include "kernels/cuda/emulation/runtime.h"

namespace anyprec::emulation {
namespace {

// After these a context is lost.
bool IsSticky(cudaError_t error) {
  return error == cudaErrorLaunchFailure || error == cudaErrorIllegalAddress ||
         error == cudaErrorMisalignedAddress || error == cudaErrorAssert ||
         error == cudaErrorECCUncorrectable || error == cudaErrorLaunchTimeout;
}

}  // namespace

Device& TheDevice() {
  static Device& device = *new Device;
  return device;
}

Stream* FindStream(Device& device, cudaStream_t handle) {
  if (handle == nullptr) return &device.default_stream;
  for (const auto& stream : device.streams) {
    if (stream.get() == reinterpret_cast<Stream*>(handle)) return stream.get();
  }
  return nullptr;
}

cudaError_t Device::Admit(const char* function) {
  ++calls[function];
  for (auto i = injected.begin(); i != injected.end(); ++i) {
    if (i->function != function || i->calls_before-- > 0) continue;
    const cudaError_t error = i->error;
    injected.erase(i);
    for (const auto& stream : streams) {
      if (stream->captures) stream->capture_broken = true;
    }
    if (IsSticky(error)) sticky_error = error;
    return error;
  }
  if (sticky_error != cudaSuccess) return sticky_error;
  return count == 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t Device::Record(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t Device::ForbidDuringCapture() {
  cudaError_t error = cudaSuccess;
  for (const auto& stream : streams) {
    if (!stream->captures ||
        stream->capture_mode == cudaStreamCaptureModeRelaxed) {
      continue;
    }
    stream->capture_broken = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

cudaError_t Device::Drain(Stream& stream) {
  while (sticky_error == cudaSuccess && !stream.pending.empty()) {
    const Work work = std::move(stream.pending.front());
    stream.pending.pop_front();
    sticky_error = work();
  }
  return sticky_error;
}

cudaError_t Device::DrainAll() {
  Drain(default_stream);
  for (const auto& stream : streams) Drain(*stream);
  return sticky_error;
}

bool HoldsAll(const Arrays& arrays, const MemoryRange& range) {
  auto after = arrays.upper_bound(range.first);
  return after != arrays.begin() &&
         std::prev(after)->second.Contains(range.first, range.bytes);
}

bool Device::Holds(const MemoryRange& range) const {
  return HoldsAll(memory, range) || HoldsAll(pinned, range);
}

cudaError_t Device::Enqueue(Stream& stream, Work work,
                            std::vector<MemoryRange> uses) {
  if (stream.capture_broken) return cudaErrorStreamCaptureInvalidated;
  if (stream.captures) {
    stream.captured.push_back([this, work = std::move(work),
                               uses = std::move(uses)] {
      for (const MemoryRange& range : uses) {
        if (Holds(range)) continue;
        kernel_failure = "a graph uses memory that was freed after its capture";
        std::fprintf(stderr, "emulated graph: %s\n", kernel_failure.c_str());
        return cudaErrorIllegalAddress;
      }
      return work();
    });
    return cudaSuccess;
  }
  stream.pending.push_back(std::move(work));
  if (seed == 0 || random() % 2 == 0) return Drain(stream);
  return cudaSuccess;
}

void ResetDevice() {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  device.count = 1;
  device.memory_bytes = size_t{1} << 30;
  device.bytes_in_use = 0;
  device.memory.clear();
  device.pinned.clear();
  device.default_stream = Stream{};
  device.streams.clear();
  device.calls.clear();
  device.injected.clear();
  device.last_error = device.sticky_error = cudaSuccess;
  device.kernel_failure.clear();
}

void SetSeed(uint64_t seed) {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  device.seed = seed;
  device.launches = 0;
  device.random.seed(seed);
}

void SetDeviceMemory(size_t bytes) {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  device.memory_bytes = bytes;
}

size_t DeviceBytesInUse() {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  return device.bytes_in_use;
}

void SetDeviceCount(int count) {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  device.count = count;
}

void FailCall(const std::string& function, int nth, cudaError_t error) {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  device.injected.push_back({function, nth - 1, error});
}

int Calls(const std::string& function) {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  return device.calls[function];
}

std::string KernelFailure() {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  return device.kernel_failure;
}

}  // namespace anyprec::emulation

using anyprec::emulation::ApiCall;
using anyprec::emulation::Device;
using anyprec::emulation::TheDevice;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return ApiCall("cudaGetDeviceCount", [&](Device& device) {
    *count = device.count;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device_index) {
  return ApiCall("cudaSetDevice", [&](const Device& device) {
    const bool exists = device_index >= 0 && device_index < device.count;
    return exists ? cudaSuccess : cudaErrorInvalidDevice;
  });
}

// An H200's, but for the memory.
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties,
                                    int device_index) {
  return ApiCall("cudaGetDeviceProperties", [&](const Device& device) {
    if (device_index < 0 || device_index >= device.count) {
      return cudaErrorInvalidDevice;
    }
    *properties = cudaDeviceProp{};
    std::snprintf(properties->name, sizeof(properties->name),
                  "Emulated device");
    properties->totalGlobalMem = device.memory_bytes;
    properties->major = 9;
    properties->minor = 0;
    properties->multiProcessorCount = 132;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->sharedMemPerBlock = 48 << 10;
    properties->sharedMemPerBlockOptin = 227 << 10;
    properties->sharedMemPerMultiprocessor = 228 << 10;
    properties->l2CacheSize = 60 << 20;
    return cudaSuccess;
  });
}

cudaError_t cudaGetLastError() {
  Device& device = TheDevice();
  std::lock_guard<std::mutex> lock(device.mutex);
  return std::exchange(device.last_error, device.sticky_error);
}
