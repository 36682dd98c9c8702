// The emulated CUDA runtime, through the functions of cuda_runtime_api.h.
#include "kernels/cuda/emulation/runtime.h"

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/launch.cuh"

namespace anyprec {
namespace {

using testing::Each;
using testing::HasSubstr;

constexpr int kSize = 64;
constexpr size_t kBytes = kSize * sizeof(float);

__global__ void Add(float* data, float addend) { data[threadIdx.x] += addend; }
__global__ void NeverMeet() {
  if (threadIdx.x == 0) __syncthreads();
}

class RuntimeTest : public testing::Test {
 protected:
  RuntimeTest() {
    emulation::ResetDevice();
    emulation::SetSeed(1);
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
              cudaSuccess);
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, kBytes), cudaSuccess);
    device_ = static_cast<float*>(memory);
    EXPECT_EQ(cudaMallocHost(&memory, kBytes), cudaSuccess);
    pinned_ = static_cast<float*>(memory);
  }
  ~RuntimeTest() override { emulation::ResetDevice(); }

  // Everything on the stream first.
  std::vector<float> Download() {
    std::vector<float> values(kSize);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), device_, kBytes,
                              cudaMemcpyDeviceToHost, stream_),
              cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    return values;
  }

  cudaError_t LaunchAdd(float addend) {
    return Launch(&Add, 1, kSize, 0, stream_, device_, addend);
  }

  cudaStream_t stream_ = nullptr;
  float* device_ = nullptr;  // [kSize]
  float* pinned_ = nullptr;  // [kSize]
};

TEST_F(RuntimeTest, FreshMemoryIsNaN) {
  for (const float value : Download()) EXPECT_TRUE(std::isnan(value));
}

TEST_F(RuntimeTest, WorkOfAStreamRunsInOrder) {
  EXPECT_EQ(cudaMemsetAsync(device_, 0, kBytes, stream_), cudaSuccess);
  EXPECT_EQ(LaunchAdd(3), cudaSuccess);
  EXPECT_EQ(LaunchAdd(4), cudaSuccess);
  EXPECT_THAT(Download(), Each(7));
}

// So a host that writes into a staging buffer too early is found out.
TEST_F(RuntimeTest, CopiesFromPinnedMemoryMayRunAsLateAsTheyMay) {
  int late = 0;
  for (int seed = 1; seed <= 20; ++seed) {
    emulation::SetSeed(seed);
    std::fill_n(pinned_, kSize, 1.0F);
    EXPECT_EQ(cudaMemcpyAsync(device_, pinned_, kBytes, cudaMemcpyHostToDevice,
                              stream_),
              cudaSuccess);
    std::fill_n(pinned_, kSize, 2.0F);
    if (Download()[0] == 2) ++late;
  }
  EXPECT_GT(late, 0);
  EXPECT_LT(late, 20);
}

TEST_F(RuntimeTest, CopiesFromPageableMemoryAreStagedAtOnce) {
  for (int seed = 0; seed <= 20; ++seed) {
    emulation::SetSeed(seed);
    std::vector<float> values(kSize, 1);
    EXPECT_EQ(cudaMemcpyAsync(device_, values.data(), kBytes,
                              cudaMemcpyHostToDevice, stream_),
              cudaSuccess);
    values.assign(kSize, 2);
    EXPECT_THAT(Download(), Each(1));
  }
}

TEST_F(RuntimeTest, CopiesBeyondAnAllocationAreRefused) {
  std::vector<float> values(kSize + 1);
  EXPECT_EQ(cudaMemcpyAsync(device_, values.data(), kBytes + 1,
                            cudaMemcpyHostToDevice, stream_),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(values.data(), device_ + 1, kBytes,
                            cudaMemcpyDeviceToHost, stream_),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(device_ + 1, 0, kBytes, stream_),
            cudaErrorInvalidValue);
}

TEST_F(RuntimeTest, CopiesInTheWrongDirectionAreRefused) {
  std::vector<float> values(kSize);
  EXPECT_EQ(cudaMemcpyAsync(device_, values.data(), kBytes,
                            cudaMemcpyDeviceToHost, stream_),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(values.data(), values.data(), kBytes,
                            cudaMemcpyDeviceToDevice, stream_),
            cudaErrorInvalidValue);
}

TEST_F(RuntimeTest, MemoryEndsWhereTheTestSaysAndComesBackWhenFreed) {
  emulation::SetDeviceMemory(kBytes + 1000);
  size_t free_bytes = 0, total_bytes = 0;
  EXPECT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  EXPECT_EQ(free_bytes, 1000);
  EXPECT_EQ(total_bytes, kBytes + 1000);
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, 1001), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&more, 1000), cudaSuccess);
  EXPECT_EQ(cudaFree(more), cudaSuccess);
  EXPECT_EQ(emulation::DeviceBytesInUse(), kBytes);
}

TEST_F(RuntimeTest, FreeingTwiceIsRefused) {
  EXPECT_EQ(cudaFree(device_), cudaSuccess);
  EXPECT_EQ(cudaFree(device_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
}

TEST_F(RuntimeTest, AMachineWithoutADeviceSaysSo) {
  emulation::SetDeviceCount(0);
  int count = -1;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  EXPECT_EQ(count, 0);
}

TEST_F(RuntimeTest, ADeviceBeyondTheLastIsRefused) {
  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  cudaDeviceProp properties;
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_EQ(properties.major, 9);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 1), cudaErrorInvalidDevice);
}

TEST_F(RuntimeTest, TheNthCallOfAFunctionFailsWhereATestAsksForIt) {
  emulation::FailCall("cudaMemsetAsync", 2, cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(device_, 0, kBytes, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(device_, 1, kBytes, stream_),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(device_, 0, 4, stream_), cudaSuccess);
  EXPECT_THAT(Download(), Each(0));
}

TEST_F(RuntimeTest, CallsAreCounted) {
  EXPECT_EQ(emulation::Calls("cudaLaunchKernelExC"), 0);
  EXPECT_EQ(LaunchAdd(1), cudaSuccess);
  EXPECT_EQ(LaunchAdd(1), cudaSuccess);
  EXPECT_EQ(emulation::Calls("cudaLaunchKernelExC"), 2);
  emulation::ResetDevice();
  EXPECT_EQ(emulation::Calls("cudaLaunchKernelExC"), 0);
}

TEST_F(RuntimeTest, AnErrorIsReportedOnceByGetLastError) {
  EXPECT_EQ(cudaSetDevice(7), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(RuntimeTest, AKernelsFailureIsReturnedByEveryLaterCall) {
  cudaError_t error = Launch(&NeverMeet, 1, 64, 0, stream_);
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream_);
  EXPECT_EQ(error, cudaErrorLaunchFailure);
  EXPECT_THAT(emulation::KernelFailure(), HasSubstr("no thread can go on"));
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 1), cudaErrorLaunchFailure);
  EXPECT_EQ(LaunchAdd(1), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
}

TEST_F(RuntimeTest, AnInjectedIllegalAddressIsStickyToo) {
  emulation::FailCall("cudaLaunchKernelExC", 1, cudaErrorIllegalAddress);
  EXPECT_EQ(LaunchAdd(1), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
}

TEST_F(RuntimeTest, AStreamThatWasDestroyedIsRefused) {
  EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
  EXPECT_EQ(LaunchAdd(1), cudaErrorInvalidResourceHandle);
}

TEST_F(RuntimeTest, AnEventIsReachedAfterTheWorkBeforeIt) {
  cudaEvent_t start = nullptr, end = nullptr;
  EXPECT_EQ(cudaEventCreateWithFlags(&start, cudaEventDefault), cudaSuccess);
  EXPECT_EQ(cudaEventCreateWithFlags(&end, cudaEventDefault), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(start, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(device_, 0, kBytes, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(pinned_, device_, kBytes, cudaMemcpyDeviceToHost,
                            stream_),
            cudaSuccess);
  EXPECT_EQ(cudaEventRecord(end, stream_), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(end), cudaSuccess);
  EXPECT_EQ(pinned_[0], 0);
  float ms = -1;
  EXPECT_EQ(cudaEventElapsedTime(&ms, start, end), cudaSuccess);
  EXPECT_GE(ms, 0);
  EXPECT_EQ(cudaEventDestroy(start), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(end), cudaSuccess);
}

// ---- Capture. ----

TEST_F(RuntimeTest, CapturedWorkRunsWhereItsGraphIsLaunched) {
  EXPECT_EQ(cudaMemsetAsync(device_, 0, kBytes, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
            cudaSuccess);
  float addend = 2;
  EXPECT_EQ(LaunchAdd(addend), cudaSuccess);
  addend = 100;  // arguments are bound by value
  EXPECT_EQ(LaunchAdd(1), cudaSuccess);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  EXPECT_THAT(Download(), Each(0));

  cudaGraphExec_t executable = nullptr;
  EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
  EXPECT_THAT(Download(), Each(6));
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
}

TEST_F(RuntimeTest, ACapturedCopyReadsItsSourceAtEveryLaunch) {
  EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
            cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(device_, pinned_, kBytes, cudaMemcpyHostToDevice,
                            stream_),
            cudaSuccess);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  cudaGraphExec_t executable = nullptr;
  EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  for (const float value : {1.0F, 2.0F}) {
    std::fill_n(pinned_, kSize, value);
    EXPECT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
    EXPECT_THAT(Download(), Each(value));
  }
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
}

TEST_F(RuntimeTest, AllocatingOrWaitingBreaksACapture) {
  for (const bool allocate : {true, false}) {
    EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
              cudaSuccess);
    void* memory = nullptr;
    EXPECT_EQ(
        allocate ? cudaMalloc(&memory, 1) : cudaStreamSynchronize(stream_),
        cudaErrorStreamCaptureUnsupported);
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph),
              cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
  }
}

// Whose work runs when the graph is launched, and not before.
class CaptureTest : public RuntimeTest {
 protected:
  void Begin() {
    EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
              cudaSuccess);
  }

  void ExpectBroken() {
    EXPECT_EQ(LaunchAdd(1), cudaErrorStreamCaptureInvalidated);
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph),
              cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
    EXPECT_EQ(LaunchAdd(1), cudaSuccess);
  }

  cudaGraphExec_t End() {
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
    cudaGraphExec_t executable = nullptr;
    EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    return executable;
  }

  // Of a launch of `executable`, or of waiting for it.
  cudaError_t Run(cudaGraphExec_t executable) {
    const cudaError_t error = cudaGraphLaunch(executable, stream_);
    return error == cudaSuccess ? cudaStreamSynchronize(stream_) : error;
  }
};

TEST_F(CaptureTest, FreeingBreaksIt) {
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 8), cudaSuccess);
  Begin();
  EXPECT_EQ(cudaFree(memory), cudaErrorStreamCaptureUnsupported);
  ExpectBroken();
}

TEST_F(CaptureTest, WaitingForTheDeviceBreaksIt) {
  Begin();
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
  ExpectBroken();
}

TEST_F(CaptureTest, CopiesOfPageableMemoryBreakIt) {
  std::vector<float> pageable(kSize);
  for (const auto kind : {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost}) {
    const bool to_device = kind == cudaMemcpyHostToDevice;
    Begin();
    EXPECT_EQ(cudaMemcpyAsync(to_device ? device_ : pageable.data(),
                              to_device ? pageable.data() : device_, kBytes,
                              kind, stream_),
              cudaErrorStreamCaptureUnsupported);
    ExpectBroken();
  }
}

struct Holder {
  int before;
  float* data;
};
__global__ void AddTo(Holder holder) { holder.data[threadIdx.x] += 1; }

TEST_F(CaptureTest, KernelsFailWhereMemoryOfTheirArgumentsIsGone) {
  // A pointer by itself, and within a structure; into an array's middle.
  for (const bool held : {false, true}) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, 2 * kBytes), cudaSuccess);
    float* const half = static_cast<float*>(memory) + kSize;
    Begin();
    EXPECT_EQ(held ? Launch(&AddTo, 1, kSize, 0, stream_, Holder{kSize, half})
                   : Launch(&Add, 1, kSize, 0, stream_, half, 1),
              cudaSuccess);
    cudaGraphExec_t executable = End();
    EXPECT_EQ(Run(executable), cudaSuccess);
    EXPECT_EQ(cudaFree(memory), cudaSuccess);
    // What took its place is not what the graph is about.
    void* smaller = nullptr;
    EXPECT_EQ(cudaMalloc(&smaller, kBytes), cudaSuccess);
    EXPECT_EQ(Run(executable), cudaErrorIllegalAddress);
    EXPECT_THAT(emulation::KernelFailure(), HasSubstr("was freed after"));
    EXPECT_EQ(cudaGraphExecDestroy(executable), cudaErrorIllegalAddress);
    emulation::ResetDevice();
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
              cudaSuccess);
  }
}

TEST_F(CaptureTest, CopiesFailWhereTheirMemoryIsGone) {
  Begin();
  EXPECT_EQ(cudaMemcpyAsync(device_, pinned_, kBytes, cudaMemcpyHostToDevice,
                            stream_),
            cudaSuccess);
  cudaGraphExec_t executable = End();
  EXPECT_EQ(Run(executable), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(pinned_), cudaSuccess);
  EXPECT_EQ(Run(executable), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaErrorIllegalAddress);
}

TEST_F(RuntimeTest, OnlyACaptureThatBeganCanEnd) {
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorIllegalState);
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal),
            cudaErrorStreamCaptureUnsupported);
}

TEST_F(RuntimeTest, EveryErrorHasANameAndADescription) {
  EXPECT_STREQ(cudaGetErrorName(cudaErrorMemoryAllocation),
               "cudaErrorMemoryAllocation");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
  EXPECT_STREQ(cudaGetErrorName(static_cast<cudaError_t>(12345)),
               "unrecognized error code");
}

}  // namespace
}  // namespace anyprec
