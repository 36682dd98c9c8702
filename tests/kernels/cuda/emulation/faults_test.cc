// Kernels with deliberate mistakes: the emulation notices them.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/emulation/runtime.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/kernels/cuda/device_vector.h"

namespace anyprec {
namespace {

using testing::HasSubstr;

constexpr int kThreads = 256;
constexpr int kSeeds = 20;

struct Tile {
  float values[kThreads];
};

class FaultsTest : public testing::Test {
 protected:
  FaultsTest() { emulation::ResetDevice(); }
  ~FaultsTest() override {
    emulation::ResetDevice();
    emulation::SetSeed(1);
  }

  // The error and KernelFailure() of one launch of one block.
  template <class... Params, class... Args>
  std::string FailureOf(void (*kernel)(Params...), size_t shared_bytes,
                        Args... args) {
    cudaError_t error =
        Launch(kernel, 1, kThreads, shared_bytes, nullptr, args...);
    if (error == cudaSuccess) error = cudaStreamSynchronize(nullptr);
    EXPECT_EQ(error != cudaSuccess, !emulation::KernelFailure().empty());
    return emulation::KernelFailure();
  }
};

// ---- Missing synchronization. Each kernel is right with `kRight`. ----

// Between a write and another thread's read.
template <bool kRight>
__global__ void SumNeighbours(float* out) {
  Tile& tile = StaticShared<Tile>();
  const unsigned t = threadIdx.x;
  tile.values[t] = static_cast<float>(t);
  if (kRight) __syncthreads();
  out[blockIdx.x * kThreads + t] =
      tile.values[t] + tile.values[(t + 37) % kThreads];
}

// Taken in order, thread 0 is always in time.
template <bool kRight>
__global__ void Broadcast(float* out) {
  Tile& tile = StaticShared<Tile>();
  if (threadIdx.x == 0) tile.values[0] = 7;
  if (kRight) __syncthreads();
  out[blockIdx.x * kThreads + threadIdx.x] = tile.values[0];
}

// Between a read and the next round's write.
template <bool kRight>
__global__ void Rotate(float* out) {
  Tile& tile = StaticShared<Tile>();
  const unsigned t = threadIdx.x;
  float value = static_cast<float>(t);
  for (int round = 0; round < 4; ++round) {
    tile.values[t] = value;
    __syncthreads();
    value = tile.values[(t + 32) % kThreads];
    if (kRight) __syncthreads();
  }
  out[blockIdx.x * kThreads + t] = value;
}

// Between lanes of one warp.
template <bool kRight>
__global__ void SwapLanes(float* out) {
  Tile& tile = StaticShared<Tile>();
  const unsigned t = threadIdx.x;
  tile.values[t] = static_cast<float>(t);
  if (kRight) __syncwarp();
  out[blockIdx.x * kThreads + t] = tile.values[t ^ 1];
}

// Before what cp.async brings is read.
template <bool kRight>
__global__ void ReverseCopy(float* out) {
  Tile& tile = StaticShared<Tile>();
  const unsigned t = threadIdx.x;
  out[blockIdx.x * kThreads + t] = static_cast<float>(t);
  CopyAsync<4>(&tile.values[t], &out[blockIdx.x * kThreads + t]);
  CopyCommit();
  if (kRight) CopyWait<0>();
  __syncthreads();
  const float reversed = tile.values[kThreads - 1 - t];
  CopyWait<0>();
  out[blockIdx.x * kThreads + t] = reversed;
}

// How many of the seeds show another result than `right` has under seed 0.
int SeedsThatDiffer(void (*right)(float*), void (*kernel)(float*)) {
  constexpr int kBlocks = 4;
  const auto run = [](void (*f)(float*), uint64_t seed) {
    emulation::SetSeed(seed);
    const DeviceVector<float> out{std::vector<float>(kBlocks * kThreads)};
    EXPECT_EQ(Launch(f, kBlocks, kThreads, 0, nullptr, out.data()),
              cudaSuccess);
    return out.Read();
  };
  const std::vector<float> want = run(right, 0);
  int differ = 0;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    if (run(kernel, seed) != want) ++differ;  // NaN differs from itself too
  }
  return differ;
}

#if defined(__SANITIZE_THREAD__)

// Plain sums by many threads: in emulation none is ever lost, whatever the
// seed.
__global__ void CountInShared(float* out) {
  Tile& tile = StaticShared<Tile>();
  if (threadIdx.x == 0) tile.values[0] = 0;
  __syncthreads();
  tile.values[0] += 1;
  __syncthreads();
  out[threadIdx.x] = tile.values[0];
}
__global__ void CountBlocks(float* out) {
  if (threadIdx.x == 0) out[0] += 1;
}

using FaultsDeathTest = FaultsTest;

// Launches the kernel in a process of its own, which TSan makes fail at its
// end.
void ExpectRace(void (*kernel)(float*)) {
  constexpr int kExitCodeOfTsan = 66;
  const auto run = [kernel] {
    const DeviceVector<float> out{std::vector<float>(2 * kThreads)};
    Launch(kernel, 2, kThreads, 0, nullptr, out.data());
    cudaStreamSynchronize(nullptr);
    std::exit(0);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(kExitCodeOfTsan),
              "ThreadSanitizer: data race");
}

TEST_F(FaultsDeathTest, ThreadSanitizerSeesMissingBarriersAndPlainSums) {
  ExpectRace(&SumNeighbours<false>);
  ExpectRace(&Broadcast<false>);
  ExpectRace(&Rotate<false>);
  ExpectRace(&SwapLanes<false>);
  ExpectRace(&CountInShared);
  ExpectRace(&CountBlocks);
}

#else

TEST_F(FaultsTest, EverySeedShowsAMissingBarrier) {
  EXPECT_EQ(SeedsThatDiffer(&SumNeighbours<true>, &SumNeighbours<false>),
            kSeeds);
  EXPECT_EQ(SeedsThatDiffer(&Broadcast<true>, &Broadcast<false>), kSeeds);
  EXPECT_EQ(SeedsThatDiffer(&Rotate<true>, &Rotate<false>), kSeeds);
  EXPECT_EQ(SeedsThatDiffer(&SwapLanes<true>, &SwapLanes<false>), kSeeds);
  EXPECT_EQ(SeedsThatDiffer(&ReverseCopy<true>, &ReverseCopy<false>), kSeeds);
}

#endif

TEST_F(FaultsTest, NoSeedShowsAnythingWhereNoBarrierIsMissing) {
  EXPECT_EQ(SeedsThatDiffer(&SumNeighbours<true>, &SumNeighbours<true>), 0);
  EXPECT_EQ(SeedsThatDiffer(&Broadcast<true>, &Broadcast<true>), 0);
  EXPECT_EQ(SeedsThatDiffer(&Rotate<true>, &Rotate<true>), 0);
  EXPECT_EQ(SeedsThatDiffer(&SwapLanes<true>, &SwapLanes<true>), 0);
  EXPECT_EQ(SeedsThatDiffer(&ReverseCopy<true>, &ReverseCopy<true>), 0);
}

// ---- Threads that never meet. ----

__global__ void SomeSkipBarrier() {
  if (threadIdx.x < 100) __syncthreads();
}
__global__ void SomeExitBeforeBarrier() {
  if (threadIdx.x >= 200) return;
  __syncthreads();
}
__global__ void TwoBarriersInTwoBranches() {
  if (threadIdx.x < 128) {  // NOLINT(bugprone-branch-clone)
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST_F(FaultsTest, ABarrierThatSomeThreadsNeverReachIsReported) {
  EXPECT_THAT(FailureOf(&SomeSkipBarrier, 0),
              HasSubstr("100 threads (0..99) at __syncthreads"));
}

TEST_F(FaultsTest, AnExitedThreadDoesNotPassABarrier) {
  EXPECT_THAT(FailureOf(&SomeExitBeforeBarrier, 0),
              HasSubstr("56 threads (200..255) exited"));
}

TEST_F(FaultsTest, BarriersOfDifferentBranchesAreNotOne) {
  EXPECT_THAT(FailureOf(&TwoBarriersInTwoBranches, 0),
              HasSubstr("waits at __syncthreads "));
}

__global__ void HalfAWarpShuffles(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(~0u, 1, 1);
}
__global__ void TwoKindsOfShuffle(int* out) {
  out[threadIdx.x] = threadIdx.x % 32 < 16 ? __shfl_xor_sync(~0u, 1, 1)
                                           : __shfl_down_sync(~0u, 1, 1);
}
__global__ void LeaveCopyUnderWay(const int* in) {
  CopyAsync<4>(DynamicShared<int>() + threadIdx.x, in + threadIdx.x);
}

TEST_F(FaultsTest, LanesThatMissACollectiveAreReported) {
  const DeviceVector<int> out{std::vector<int>(kThreads)};
  EXPECT_THAT(FailureOf(&HalfAWarpShuffles, 0, out.data()),
              HasSubstr("16 threads (0..15) at __shfl_xor_sync"));
}

TEST_F(FaultsTest, CollectivesThatDoNotMatchAreReported) {
  const DeviceVector<int> out{std::vector<int>(kThreads)};
  EXPECT_THAT(FailureOf(&TwoKindsOfShuffle, 0, out.data()),
              HasSubstr("waits at __shfl"));
}

TEST_F(FaultsTest, ACopyThatNobodyWaitsForIsReported) {
  emulation::SetSeed(0);  // copies at the wait, never at once
  const DeviceVector<int> in{std::vector<int>(kThreads)};
  EXPECT_THAT(FailureOf(&LeaveCopyUnderWay, kThreads * sizeof(int), in.data()),
              HasSubstr("exits with cp.async under way"));
}

// ---- Out of bounds. ----

__global__ void WritePastDynamicShared() {
  DynamicShared<float>()[threadIdx.x + 1] = 1;
}
__global__ void WritePastStaticShared() {
  float* values = StaticShared<Tile>().values;
  values[threadIdx.x + 1] = 1;
}
__global__ void WriteBeforeStaticShared() {
  float* values = StaticShared<Tile>().values;
  values[static_cast<int>(threadIdx.x) - 1] = 1;
}
__global__ void WritePastGlobal(float* out) { out[threadIdx.x + 1] = 1; }
__global__ void ReadPastShared(float* out) {
  float* values = StaticShared<Tile>().values;
  values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x + 1];
}

#if defined(__SANITIZE_ADDRESS__)

using FaultsDeathTest = FaultsTest;

TEST_F(FaultsDeathTest, AddressSanitizerSeesAccessesOutOfBounds) {
  const char* report = "AddressSanitizer: heap-buffer-overflow";
  constexpr size_t kSharedBytes = kThreads * sizeof(float);
  const DeviceVector<float> out{std::vector<float>(kThreads)};
  EXPECT_DEATH(FailureOf(&WritePastDynamicShared, kSharedBytes), report);
  EXPECT_DEATH(FailureOf(&WritePastStaticShared, 0), report);
  EXPECT_DEATH(FailureOf(&WriteBeforeStaticShared, 0), report);
  EXPECT_DEATH(FailureOf(&WritePastGlobal, 0, out.data()), report);
  EXPECT_DEATH(FailureOf(&ReadPastShared, 0, out.data()), report);
}

#else

TEST_F(FaultsTest, AWritePastDynamicSharedMemoryIsReported) {
  EXPECT_THAT(FailureOf(&WritePastDynamicShared, kThreads * sizeof(float)),
              HasSubstr("wrote past an array of 1024 bytes in shared memory "
                        "(dynamic)"));
}

TEST_F(FaultsTest, AWritePastStaticSharedMemoryIsReported) {
  EXPECT_THAT(FailureOf(&WritePastStaticShared, 0),
              HasSubstr("wrote past an array of 1024 bytes in shared memory "
                        "(static)"));
}

TEST_F(FaultsTest, AWriteBeforeSharedMemoryIsReported) {
  EXPECT_THAT(FailureOf(&WriteBeforeStaticShared, 0),
              HasSubstr("wrote before an array of 1024 bytes"));
}

TEST_F(FaultsTest, AWritePastGlobalMemoryIsReported) {
  const DeviceVector<float> out{std::vector<float>(kThreads)};
  EXPECT_THAT(FailureOf(&WritePastGlobal, 0, out.data()),
              HasSubstr("wrote past an array of 1024 bytes in global memory"));
}

TEST_F(FaultsTest, AReadPastSharedMemoryGivesNaN) {
  const DeviceVector<float> out{std::vector<float>(kThreads)};
  EXPECT_EQ(FailureOf(&ReadPastShared, 0, out.data()), "");
  EXPECT_EQ(out.Read()[0], 1);
  EXPECT_TRUE(std::isnan(out.Read()[kThreads - 1]));
}

#endif

struct TooLarge {
  std::array<float, 60000> values;
};
__global__ void TakeTooMuchShared() { StaticShared<TooLarge>(); }
__global__ void DoNothing() {}

TEST_F(FaultsTest, StaticSharedMemoryBeyondTheLimitIsReported) {
  EXPECT_THAT(FailureOf(&TakeTooMuchShared, 0), HasSubstr("shared memory"));
}

TEST_F(FaultsTest, AnInvalidLaunchIsRefusedAndLeavesTheDeviceWell) {
  EXPECT_EQ(Launch(&DoNothing, 0, 32, 0, nullptr),
            cudaErrorInvalidConfiguration);
  EXPECT_EQ(Launch(&DoNothing, 1, 1025, 0, nullptr),
            cudaErrorInvalidConfiguration);
  EXPECT_EQ(Launch(&DoNothing, 1, 32, 228 << 10, nullptr),
            cudaErrorInvalidValue);
  EXPECT_EQ(FailureOf(&DoNothing, 0), "");
}

TEST_F(FaultsTest, AKernelRunsAfterOneThatFailed) {
  EXPECT_NE(FailureOf(&SomeSkipBarrier, 0), "");
  emulation::ResetDevice();
  EXPECT_EQ(SeedsThatDiffer(&SumNeighbours<true>, &SumNeighbours<true>), 0);
}

}  // namespace
}  // namespace anyprec
