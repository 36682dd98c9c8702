// The emulated runtime's memory and copies.
#include <cstring>
#include <string>
#include <utility>

#include "kernels/cuda/emulation/device.h"

namespace anyprec::emulation {
namespace {

using Arrays = std::map<const void*, GuardedArray>;

// Whether one of the arrays holds all of [first, first + bytes).
bool Holds(const Arrays& arrays, const void* first, size_t bytes) {
  auto after = arrays.upper_bound(first);
  return after != arrays.begin() &&
         std::prev(after)->second.Contains(first, bytes);
}

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
      Holds(device.memory, to, bytes) != to_device ||
      Holds(device.memory, from, bytes) != from_device) {
    return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

}  // namespace
}  // namespace anyprec::emulation

using namespace anyprec::emulation;  // NOLINT(google-build-using-namespace)

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  return ApiCall("cudaMemGetInfo", [&](const Device& device) {
    *total_bytes = device.memory_bytes;
    *free_bytes = device.memory_bytes - device.bytes_in_use;
    return cudaSuccess;
  });
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  return ApiCall("cudaMalloc", [&](Device& device) {
    const cudaError_t error = device.ForbidDuringCapture();
    if (error != cudaSuccess) return error;
    if (bytes > device.memory_bytes - device.bytes_in_use) {
      return cudaErrorMemoryAllocation;
    }
    device.bytes_in_use += bytes;
    *data = bytes == 0 ? nullptr : Insert(device.memory, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaFree(void* data) {
  return ApiCall("cudaFree", [&](Device& device) {
    cudaError_t error = device.ForbidDuringCapture();
    if (error != cudaSuccess || data == nullptr) return error;
    error = device.DrainAll();
    if (error != cudaSuccess) return error;
    const auto found = device.memory.find(data);
    if (found == device.memory.end()) return cudaErrorInvalidValue;
    device.bytes_in_use -= found->second.bytes();
    device.memory.erase(found);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocHost(void** data, size_t bytes) {
  return ApiCall("cudaMallocHost", [&](Device& device) {
    const cudaError_t error = device.ForbidDuringCapture();
    if (error == cudaSuccess) *data = Insert(device.pinned, bytes);
    return error;
  });
}

cudaError_t cudaFreeHost(void* data) {
  return ApiCall("cudaFreeHost", [&](Device& device) {
    cudaError_t error = device.ForbidDuringCapture();
    if (error != cudaSuccess || data == nullptr) return error;
    error = device.DrainAll();
    if (error != cudaSuccess) return error;
    return device.pinned.erase(data) == 1 ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream) {
  return ApiCall("cudaMemcpyAsync", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr) return cudaErrorInvalidResourceHandle;
    cudaError_t error = CheckCopy(device, to, from, bytes, kind);
    if (error != cudaSuccess || bytes == 0) return error;
    const bool pageable_from =
        kind == cudaMemcpyHostToDevice && !Holds(device.pinned, from, bytes);
    if (pageable_from && !queue->captures) {  // CUDA stages it at once
      std::string staged(static_cast<const char*>(from), bytes);
      return device.Enqueue(*queue, [to, staged = std::move(staged)] {
        std::memcpy(to, staged.data(), staged.size());
        return cudaSuccess;
      });
    }
    error = device.Enqueue(*queue, [to, from, bytes] {
      std::memcpy(to, from, bytes);
      return cudaSuccess;
    });
    const bool pageable_to =
        kind == cudaMemcpyDeviceToHost && !Holds(device.pinned, to, bytes);
    if (error != cudaSuccess || !pageable_to || queue->captures) return error;
    return device.Drain(*queue);  // CUDA returns when it is done
  });
}

cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes,
                            cudaStream_t stream) {
  return ApiCall("cudaMemsetAsync", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr) return cudaErrorInvalidResourceHandle;
    if (bytes == 0) return cudaSuccess;
    if (!Holds(device.memory, data, bytes)) return cudaErrorInvalidValue;
    return device.Enqueue(*queue, [data, value, bytes] {
      std::memset(data, value, bytes);
      return cudaSuccess;
    });
  });
}
