// The CUDA backend on the emulated device: the conformance suite, and what it
// says of itself.
#include "kernels/cuda/cuda_backend.h"

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/emulation/runtime.h"
#include "tests/conformance/backend_conformance.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

using testing::HasSubstr;

BackendUnderTest EmulatedCuda() {
  BackendUnderTest backend;
  backend.name = "Emulated";
  backend.create = [](int /*threads*/) { return CreateCudaBackend({}); };
  // Prefill activations are rounded to fp16, whose errors are spread over
  // 2^-11 of each: 3e-4 for an output of variance 1, and the largest of some
  // thousand outputs is four to five times that.
  backend.bit_plane_tolerance = [](int, Phase phase) {
    return phase == Phase::kDecode ? 1e-5 : 2e-3;
  };
  backend.max_dense_rows = 33;
  backend.max_draw_rows = 1;
  return backend;
}

INSTANTIATE_TEST_SUITE_P(Cuda, BackendConformanceTest,
                         testing::Values(EmulatedCuda()),
                         [](const auto& info) { return info.param.name; });

TEST(CudaBackendTest, NamesDeviceAndArchitecture) {
  const auto backend = CreateCudaBackend({});
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->name(), "cuda (Emulated device, sm_90)");
  // Whose steps take other times.
  const auto other = CreateCudaBackend({.graphs = false});
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*other)->name(), "cuda (Emulated device, sm_90, no graphs)");
}

TEST(CudaBackendTest, TellsTheDevicesMemory) {
  const auto backend = CreateCudaBackend({});
  ASSERT_TRUE(backend.ok()) << backend.status();
  const auto before = (*backend)->GetDeviceMemoryInfo();
  ASSERT_TRUE(before.ok() && before->has_value()) << before.status();
  const auto buffer = (*backend)->Allocate(1000);
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  const auto after = (*backend)->GetDeviceMemoryInfo();
  ASSERT_TRUE(after.ok() && after->has_value()) << after.status();
  EXPECT_EQ((*after)->total_bytes, (*before)->total_bytes);
  EXPECT_EQ((*after)->free_bytes, (*before)->free_bytes - 4000);
}

// The engine loads on one thread and computes on another.
TEST(CudaBackendTest, WorksOnWhicheverThreadCallsIt) {
  const auto backend = CreateCudaBackend({});
  ASSERT_TRUE(backend.ok()) << backend.status();
  const std::vector<float> x = RandomFloats(100, 1);
  const auto buffer = Upload(**backend, x);
  std::vector<float> y;
  std::thread([&] { y = Download(**backend, buffer->data(), 100); }).join();
  EXPECT_EQ(y, x);
}

TEST(CudaBackendTest, TheHostsArraysMayChangeOnceACallHasReturned) {
  // Under these seeds copies run late, or at once.
  for (const uint64_t seed : {0, 1, 2, 3}) {
    emulation::SetSeed(seed);
    const auto backend = CreateCudaBackend({});
    ASSERT_TRUE(backend.ok()) << backend.status();
    // Larger than what is staged at a time.
    constexpr size_t kSize = 3 << 20;
    const std::vector<float> x = RandomFloats(kSize, 1);
    std::vector<float> source = x;
    const auto buffer = (*backend)->Allocate(kSize);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    ASSERT_TRUE((*backend)->CopyFromHost(source, (*buffer)->data()).ok());
    source.assign(kSize, -1);
    std::vector<int32_t> rows = {2, 1};
    const auto y = (*backend)->Allocate(16);
    ASSERT_TRUE(
        (*backend)->GatherRows((*buffer)->data(), rows, 8, (*y)->data()).ok());
    rows = {0, 0};
    EXPECT_EQ(Download(**backend, (*buffer)->data(), kSize), x);
    std::vector<float> want(x.begin() + 16, x.begin() + 24);
    want.insert(want.end(), x.begin() + 8, x.begin() + 16);
    EXPECT_EQ(Download(**backend, (*y)->data(), 16), want);
  }
  emulation::SetSeed(1);
}

absl::Status CreationError(const CudaBackendOptions& options = {}) {
  return CreateCudaBackend(options).status();
}

TEST(CudaBackendTest, SaysInOneLineThatThereIsNoDriver) {
  emulation::FailCall("cudaGetDeviceCount", 1, cudaErrorInsufficientDriver);
  const absl::Status status = CreationError();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("--device=cuda: no NVIDIA driver"));
}

TEST(CudaBackendTest, SaysThatThereIsNoDevice) {
  emulation::SetDeviceCount(0);
  const absl::Status status = CreationError();
  emulation::SetDeviceCount(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("shows no device"));
}

TEST(CudaBackendTest, RefusesADeviceThatIsNotThere) {
  const absl::Status status = CreationError({.device = 1});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("CUDA device 1"));
}

TEST(CudaBackendTest, RefusesHeadsThatAttentionHasNoRoomFor) {
  const auto backend = CreateCudaBackend({});
  ASSERT_TRUE(backend.ok()) << backend.status();
  const absl::Status status =
      (*backend)
          ->AllocateKv(
              {.layers = 1, .kv_heads = 1, .head_dim = 258, .num_blocks = 1},
              KvType::kFloat16)
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("heads of 258"));
}

}  // namespace
}  // namespace anyprec
