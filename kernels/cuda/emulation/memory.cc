// The emulated runtime's memory and copies.
#include <cstring>
#include <string>
#include <utility>

#include "kernels/cuda/emulation/device.h"

using anyprec::emulation::ApiCall;
using anyprec::emulation::Arrays;
using anyprec::emulation::Device;
using anyprec::emulation::FindStream;
using anyprec::emulation::GuardedArray;
using anyprec::emulation::HoldsAll;
using anyprec::emulation::Stream;

namespace {

void* Insert(Arrays& arrays, size_t bytes) {
  GuardedArray array(bytes);
  void* data = array.data();
  arrays.emplace(data, std::move(array));
  return data;
}

cudaError_t CheckCopy(const Device& device, const void* to, const void* from,
                      size_t bytes, cudaMemcpyKind kind) {
  const bool to_device =
      kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device =
      kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyDefault || kind == cudaMemcpyHostToHost ||
      HoldsAll(device.memory, {to, bytes}) != to_device ||
      HoldsAll(device.memory, {from, bytes}) != from_device) {
    return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  return ApiCall("cudaMemGetInfo", [&](const Device& device) {
    *total_bytes = device.memory_bytes;
    *free_bytes = device.FreeBytes();
    return cudaSuccess;
  });
}

cudaError_t cudaMalloc(void** ptr, size_t size) {
  return ApiCall("cudaMalloc", [&](Device& device) {
    const cudaError_t error = device.ForbidDuringCapture();
    if (error != cudaSuccess) return error;
    if (size > device.FreeBytes()) return cudaErrorMemoryAllocation;
    device.bytes_in_use += size;
    *ptr = size == 0 ? nullptr : Insert(device.memory, size);
    return cudaSuccess;
  });
}

cudaError_t cudaFree(void* ptr) {
  return ApiCall("cudaFree", [&](Device& device) {
    cudaError_t error = device.ForbidDuringCapture();
    if (error != cudaSuccess || ptr == nullptr) return error;
    error = device.DrainAll();
    if (error != cudaSuccess) return error;
    const auto found = device.memory.find(ptr);
    if (found == device.memory.end()) return cudaErrorInvalidValue;
    device.bytes_in_use -= found->second.bytes();
    device.memory.erase(found);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocHost(void** ptr, size_t size) {
  return ApiCall("cudaMallocHost", [&](Device& device) {
    const cudaError_t error = device.ForbidDuringCapture();
    if (error == cudaSuccess) *ptr = Insert(device.pinned, size);
    return error;
  });
}

cudaError_t cudaFreeHost(void* ptr) {
  return ApiCall("cudaFreeHost", [&](Device& device) {
    cudaError_t error = device.ForbidDuringCapture();
    if (error != cudaSuccess || ptr == nullptr) return error;
    error = device.DrainAll();
    if (error != cudaSuccess) return error;
    return device.pinned.erase(ptr) == 1 ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t count,
                            cudaMemcpyKind kind, cudaStream_t stream) {
  return ApiCall("cudaMemcpyAsync", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr) return cudaErrorInvalidResourceHandle;
    cudaError_t error = CheckCopy(device, dst, src, count, kind);
    if (error != cudaSuccess || count == 0) return error;
    const bool pageable_from = kind == cudaMemcpyHostToDevice &&
                               !HoldsAll(device.pinned, {src, count});
    const bool pageable_to = kind == cudaMemcpyDeviceToHost &&
                             !HoldsAll(device.pinned, {dst, count});
    if (queue->captures && (pageable_from || pageable_to)) {
      queue->capture_broken = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    if (pageable_from) {  // CUDA stages it at once
      std::string staged(static_cast<const char*>(src), count);
      return device.Enqueue(*queue, [dst, staged = std::move(staged)] {
        std::memcpy(dst, staged.data(), staged.size());
        return cudaSuccess;
      });
    }
    error = device.Enqueue(*queue,
                           [dst, src, count] {
                             std::memcpy(dst, src, count);
                             return cudaSuccess;
                           },
                           {{dst, count}, {src, count}});
    if (error != cudaSuccess || !pageable_to) return error;
    return device.Drain(*queue);  // CUDA returns when it is done
  });
}

cudaError_t cudaMemsetAsync(void* ptr, int value, size_t count,
                            cudaStream_t stream) {
  return ApiCall("cudaMemsetAsync", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr) return cudaErrorInvalidResourceHandle;
    if (count == 0) return cudaSuccess;
    if (!HoldsAll(device.memory, {ptr, count})) return cudaErrorInvalidValue;
    return device.Enqueue(*queue,
                          [ptr, value, count] {
                            std::memset(ptr, value, count);
                            return cudaSuccess;
                          },
                          {{ptr, count}});
  });
}
