// The emulated runtime's launches, streams, events and graphs.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <utility>

#include "kernels/cuda/emulation/device.h"
#include "kernels/cuda/emulation/emulation.h"
#include "kernels/cuda/emulation/runtime.h"
#include "kernels/cuda/emulation/shared_memory.h"

using anyprec::emulation::ApiCall;
using anyprec::emulation::Device;
using anyprec::emulation::FindStream;
using anyprec::emulation::kGraphBytesPerLaunch;
using anyprec::emulation::Stream;
using anyprec::emulation::Work;

// CUDA leaves this to whoever implements it.
struct CUevent_st {          // NOLINT(readability-identifier-naming)
  Stream* stream = nullptr;  // where it was last recorded
  std::chrono::steady_clock::time_point time;
};

namespace anyprec::emulation {
namespace {

cudaError_t CheckConfiguration(dim3 grid, dim3 block, size_t shared_bytes) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || blocks == 0 ||
      grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  return shared_bytes <= kMaxSharedBytes ? cudaSuccess : cudaErrorInvalidValue;
}

// Another order for every launch under one seed.
uint64_t LaunchSeed(Device& device) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;  // spreads consecutive numbers
  if (device.seed == 0) return 0;
  return (device.seed + ++device.launches * kOdd) | 1;
}

// What a kernel did to global memory out of bounds.
std::string FindDamage(const Device& device) {
  for (const auto& [first, array] : device.memory) {
    const std::string damage = array.Damage();
    if (!damage.empty()) return damage + " in global memory";
  }
  return "";
}

// The words that point into memory of the device.
std::vector<MemoryRange> PointedAt(const Device& device,
                                   std::span<const void* const> words) {
  std::vector<MemoryRange> ranges;
  for (const void* const word : words) {
    const MemoryRange range = {word, 1};
    if (HoldsAll(device.memory, range)) ranges.push_back(range);
  }
  return ranges;
}

}  // namespace

cudaError_t Launch(dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, std::function<void()> kernel,
                   std::span<const void* const> words) {
  return ApiCall("cudaLaunchKernelExC", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr) return cudaErrorInvalidResourceHandle;
    const cudaError_t error = CheckConfiguration(grid, block, shared_bytes);
    if (error != cudaSuccess) return error;
    Work run = [&device, grid, block, shared_bytes,
                kernel = std::move(kernel)] {
      std::string failure =
          Run(grid, block, shared_bytes, LaunchSeed(device), kernel);
      if (failure.empty()) failure = FindDamage(device);
      if (failure.empty()) return cudaSuccess;
      std::fprintf(stderr, "emulated kernel: %s\n", failure.c_str());
      device.kernel_failure = failure;
      return cudaErrorLaunchFailure;
    };
    return device.Enqueue(*queue, std::move(run), PointedAt(device, words));
  });
}

}  // namespace anyprec::emulation

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream,
                                      unsigned int /*flags*/) {
  return ApiCall("cudaStreamCreateWithFlags", [&](Device& device) {
    device.streams.push_back(std::make_unique<Stream>());
    *stream = reinterpret_cast<cudaStream_t>(device.streams.back().get());
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return ApiCall("cudaStreamDestroy", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr || stream == nullptr) {
      return cudaErrorInvalidResourceHandle;
    }
    const cudaError_t error = device.Drain(*queue);
    std::erase_if(device.streams,
                  [&](const auto& other) { return other.get() == queue; });
    return error;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return ApiCall("cudaStreamSynchronize", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr) return cudaErrorInvalidResourceHandle;
    if (queue->captures) {
      queue->capture_broken = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    return device.Drain(*queue);
  });
}

cudaError_t cudaDeviceSynchronize() {
  return ApiCall("cudaDeviceSynchronize", [&](Device& device) {
    const cudaError_t error = device.ForbidDuringCapture();
    return error == cudaSuccess ? device.DrainAll() : error;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event,
                                     unsigned int /*flags*/) {
  return ApiCall("cudaEventCreateWithFlags", [&](const Device&) {
    *event = new CUevent_st;
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return ApiCall("cudaEventDestroy", [&](Device& device) {
    const cudaError_t error = device.DrainAll();  // its record may be pending
    delete event;
    return error;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return ApiCall("cudaEventRecord", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr) return cudaErrorInvalidResourceHandle;
    if (queue->captures) return cudaErrorNotSupported;  // by this emulation
    event->stream = queue;
    return device.Enqueue(*queue, [event] {
      event->time = std::chrono::steady_clock::now();
      return cudaSuccess;
    });
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return ApiCall("cudaEventSynchronize", [&](Device& device) {
    if (event->stream == nullptr) return cudaSuccess;
    return device.Drain(*event->stream);
  });
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start,
                                 cudaEvent_t end) {
  return ApiCall("cudaEventElapsedTime", [&](const Device&) {
    const std::chrono::duration<float, std::milli> elapsed =
        end->time - start->time;
    *ms = elapsed.count();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream,
                                   cudaStreamCaptureMode mode) {
  return ApiCall("cudaStreamBeginCapture", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;
    if (queue->captures) return cudaErrorIllegalState;
    queue->captures = true;
    queue->capture_mode = mode;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  return ApiCall("cudaStreamEndCapture", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr) return cudaErrorInvalidResourceHandle;
    if (!queue->captures) return cudaErrorIllegalState;
    queue->captures = false;
    std::vector<Work> work = std::exchange(queue->captured, {});
    if (std::exchange(queue->capture_broken, false)) {
      return cudaErrorStreamCaptureInvalidated;
    }
    *graph = new CUgraph_st{std::move(work)};
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long /*flags*/) {
  return ApiCall("cudaGraphInstantiate", [&](Device& device) {
    const size_t bytes = kGraphBytesPerLaunch * graph->work.size();
    if (bytes > device.FreeBytes()) return cudaErrorMemoryAllocation;
    device.bytes_in_use += bytes;
    device.graphs.push_back(
        std::make_unique<CUgraphExec_st>(graph->work, bytes));
    *exec = device.graphs.back().get();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return ApiCall("cudaGraphLaunch", [&](Device& device) {
    Stream* queue = FindStream(device, stream);
    if (queue == nullptr) return cudaErrorInvalidResourceHandle;
    for (const Work& work : exec->work) {
      const cudaError_t error = device.Enqueue(*queue, work);
      if (error != cudaSuccess) return error;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return ApiCall("cudaGraphDestroy", [](const Device&) { return cudaSuccess; });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return ApiCall("cudaGraphExecDestroy", [&](Device& device) {
    const auto found = std::ranges::find(
        device.graphs, exec, [](const auto& graph) { return graph.get(); });
    if (found == device.graphs.end()) return cudaErrorInvalidValue;
    device.bytes_in_use -= exec->bytes;
    device.graphs.erase(found);
    return cudaSuccess;
  });
}
