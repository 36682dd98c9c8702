// The emulation's warp collectives and PTX instructions, element by element as
// the PTX ISA and the CUDA programming guide state them.
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/emulation/runtime.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/kernels/cuda/device_vector.h"

namespace anyprec {
namespace {

constexpr int kLanes = 32;

// In order and in two random orders.
class CollectivesTest : public testing::TestWithParam<int> {
 protected:
  CollectivesTest() {
    emulation::ResetDevice();
    emulation::SetSeed(GetParam());
  }

  // Runs one warp and returns what it left in out[lane][values].
  template <class T, class... Params, class... Args>
  std::vector<T> RunWarp(void (*kernel)(T*, Params...), int values,
                         Args... args) {
    const DeviceVector<T> out{std::vector<T>(kLanes * values)};
    EXPECT_EQ(Launch(kernel, 1, kLanes, 0, nullptr, out.data(), args...),
              cudaSuccess);
    return out.Read();
  }

  std::mt19937 random_{3};
};

INSTANTIATE_TEST_SUITE_P(Seeds, CollectivesTest, testing::Values(0, 1, 2));

__global__ void Shuffles(int* out) {
  const int lane = static_cast<int>(threadIdx.x), value = lane * 10;
  int* mine = out + lane * 5;
  mine[0] = __shfl_sync(~0u, value, 5);
  mine[1] = __shfl_sync(~0u, value, lane + 1, 8);
  mine[2] = __shfl_up_sync(~0u, value, 2);
  mine[3] = __shfl_down_sync(~0u, value, 3, 16);
  mine[4] = __shfl_xor_sync(~0u, value, 7);
}

TEST_P(CollectivesTest, ShufflesTakeFromTheLaneThatTheirKindNames) {
  const std::vector<int> out = RunWarp(&Shuffles, 5);
  for (int lane = 0; lane < kLanes; ++lane) {
    const int next_of_8 = (lane & ~7) | ((lane + 1) & 7);
    const int third_of_16 = lane % 16 + 3 >= 16 ? lane : lane + 3;
    EXPECT_EQ(out[lane * 5], 50);
    EXPECT_EQ(out[lane * 5 + 1], next_of_8 * 10);
    EXPECT_EQ(out[lane * 5 + 2], (lane < 2 ? lane : lane - 2) * 10);
    EXPECT_EQ(out[lane * 5 + 3], third_of_16 * 10);
    EXPECT_EQ(out[lane * 5 + 4], (lane ^ 7) * 10);
  }
}

__global__ void Votes(int* out) {
  const int lane = static_cast<int>(threadIdx.x), value = lane * 10;
  int* mine = out + lane * 5;
  mine[0] = static_cast<int>(__ballot_sync(~0u, lane % 3 == 0));
  mine[1] = __any_sync(~0u, lane == 31);
  mine[2] = __all_sync(~0u, lane < 31);
  mine[3] = __reduce_add_sync(~0u, value);
  mine[4] = __reduce_max_sync(lane < 16 ? 0xffffu : 0xffff0000u, value);
}

TEST_P(CollectivesTest, VotesAndReductionsCountTheLanesOfTheMask) {
  const std::vector<int> out = RunWarp(&Votes, 5);
  for (int lane = 0; lane < kLanes; ++lane) {
    EXPECT_EQ(out[lane * 5], 0x49249249);  // every third bit
    EXPECT_EQ(out[lane * 5 + 1], 1);
    EXPECT_EQ(out[lane * 5 + 2], 0);
    EXPECT_EQ(out[lane * 5 + 3], 31 * 32 / 2 * 10);
    EXPECT_EQ(out[lane * 5 + 4], lane < 16 ? 150 : 310);
  }
}

uint32_t HalfBits(float value) {
  const __half half = __float2half(value);
  uint16_t bits;
  std::memcpy(&bits, &half, sizeof(bits));
  return bits;
}

__global__ void MultiplyOnce(float* c, const float* addend, const uint32_t* a,
                             const uint32_t* b) {
  float* mine = c + threadIdx.x * 4;
  for (int i = 0; i < 4; ++i) mine[i] = addend[threadIdx.x * 4 + i];
  MmaF16(mine, a + threadIdx.x * 4, b + threadIdx.x * 2);
}

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type":
// element i of A is in row g where i < 2 or 4 <= i < 6, else g + 8, and in
// column 2 t + (i & 1), + 8 where i >= 4. B: row 2 t + (i & 1), + 8 where i >=
// 2; column g. C: row g where i < 2, else g + 8; column 2 t + (i & 1).
TEST_P(CollectivesTest, MmaF16MultipliesFragmentsAsPtxLaysThemOut) {
  float a[16][16], b[16][8];
  for (auto& row : a) {
    for (float& value : row) value = static_cast<float>(random_() % 17) - 8;
  }
  for (auto& row : b) {
    for (float& value : row) value = static_cast<float>(random_() % 17) - 8;
  }
  std::vector<uint32_t> a_words(kLanes * 4), b_words(kLanes * 2);
  std::vector<float> addend(kLanes * 4), want(kLanes * 4);
  for (int lane = 0; lane < kLanes; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 8; ++i) {
      const int row = i < 2 || (4 <= i && i < 6) ? g : g + 8;
      const int column = t * 2 + (i & 1) + (i >= 4 ? 8 : 0);
      a_words[lane * 4 + i / 2] |= HalfBits(a[row][column]) << i % 2 * 16;
    }
    for (int i = 0; i < 4; ++i) {
      const int row = t * 2 + (i & 1) + (i >= 2 ? 8 : 0);
      b_words[lane * 2 + i / 2] |= HalfBits(b[row][g]) << i % 2 * 16;
    }
    for (int i = 0; i < 4; ++i) {
      const int row = i < 2 ? g : g + 8, column = t * 2 + (i & 1);
      addend[lane * 4 + i] = static_cast<float>(lane - i);
      want[lane * 4 + i] = addend[lane * 4 + i];
      for (int k = 0; k < 16; ++k) {  // exact: small integers
        want[lane * 4 + i] += a[row][k] * b[k][column];
      }
    }
  }
  const DeviceVector<float> addend_on_device(addend);
  const DeviceVector<uint32_t> a_on_device(a_words), b_on_device(b_words);
  EXPECT_EQ(RunWarp(&MultiplyOnce, 4, addend_on_device.data(),
                    a_on_device.data(), b_on_device.data()),
            want);
}

struct alignas(16) Staged {
  char bytes[kLanes * 16];
};

template <int kBytes>
__global__ void CopyThroughShared(char* out, const char* in) {
  char* staged = StaticShared<Staged>().bytes + threadIdx.x * kBytes;
  CopyAsync<kBytes>(staged, in + threadIdx.x * kBytes);
  CopyCommit();
  CopyWait<0>();
  for (int i = 0; i < kBytes; ++i) {
    out[threadIdx.x * kBytes + i] = staged[i];
  }
}

TEST_P(CollectivesTest, CopyAsyncBringsItsBytesByTheTimeOfTheWait) {
  std::vector<char> in(kLanes * 16);
  for (char& value : in) value = static_cast<char>(random_());
  const DeviceVector<char> device(in);
  EXPECT_EQ(RunWarp(&CopyThroughShared<16>, 16, device.data()), in);
  in.resize(kLanes * 4);
  EXPECT_EQ(RunWarp(&CopyThroughShared<4>, 4, device.data()), in);
}

}  // namespace
}  // namespace anyprec
