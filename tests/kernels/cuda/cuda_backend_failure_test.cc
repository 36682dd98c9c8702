// What the CUDA backend does when memory runs out, and when the device fails.
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulation/runtime.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

using testing::HasSubstr;

class CudaBackendFailureTest : public testing::Test {
 protected:
  void SetUp() override {
    emulation::ResetDevice();
    auto backend = CreateCudaBackend({});
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
  }

  void TearDown() override {
    backend_.reset();
    emulation::ResetDevice();
  }

  // Leaves `bytes` free.
  static void LeaveMemory(size_t bytes) {
    emulation::SetDeviceMemory(emulation::DeviceBytesInUse() + bytes);
  }

  std::unique_ptr<Backend> backend_;
};

TEST_F(CudaBackendFailureTest, BuffersThatDoNotFitNameNeededAndFreeBytes) {
  LeaveMemory(4096);
  const absl::Status status = backend_->Allocate(1025).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4100"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("4096"));
  ExpectWorks(*backend_);
}

TEST_F(CudaBackendFailureTest, LayersThatDoNotFitLeaveNothingBehind) {
  const RandomQuantizedLinear layer(64, 512, 3, 8, 1);
  const QuantizedLinear view = layer.view();
  // Planes of 4096 bytes: some fit.
  LeaveMemory(20000);
  const size_t before = emulation::DeviceBytesInUse();
  const absl::Status status = backend_->LoadBitPlanes({&view, 1}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("64 x 512"));
  EXPECT_EQ(emulation::DeviceBytesInUse(), before);

  const RandomDense dense(DenseMatrix::Type::kFloat32, 64, 512, 1);
  const DenseMatrix dense_view = dense.view();
  EXPECT_EQ(backend_->LoadDense({&dense_view, 1}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(emulation::DeviceBytesInUse(), before);
  ExpectWorks(*backend_);
}

TEST_F(CudaBackendFailureTest, ACacheThatDoesNotFitIsRefused) {
  LeaveMemory(4096);
  const absl::Status status =
      backend_
          ->AllocateKv(
              {.layers = 2, .kv_heads = 1, .head_dim = 64, .num_blocks = 100},
              KvType::kFloat16)
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("KV cache"));
  ExpectWorks(*backend_);
}

TEST_F(CudaBackendFailureTest, AStepWithoutRoomForScratchMayBeTriedAgain) {
  constexpr int kRows = 32;
  constexpr int kDim = 512;
  const RandomQuantizedLinear layer(16, kDim, 3, 3, 1);
  const QuantizedLinear view = layer.view();
  auto weights = backend_->LoadBitPlanes({&view, 1});
  ASSERT_TRUE(weights.ok()) << weights.status();
  const auto x = Upload(*backend_, RandomFloats(kRows * kDim, 2));
  const auto y = Upload(*backend_, std::vector<float>(kRows * 16));
  const RowGroup group = {0, kRows, 3, Phase::kPrefill};
  const auto multiply = [&] {
    return backend_->Linear(**weights, {&group, 1}, x->data(), y->data(),
                            false);
  };
  LeaveMemory(100);
  EXPECT_EQ(multiply().code(), absl::StatusCode::kResourceExhausted);
  LeaveMemory(1 << 20);
  const absl::Status again = multiply();
  EXPECT_TRUE(again.ok()) << again;
  ExpectWorks(*backend_);
}

TEST_F(CudaBackendFailureTest, ALostDeviceIsLostForEveryLaterCall) {
  const auto x = Upload(*backend_, std::vector<float>{3, 4});
  ASSERT_NE(x, nullptr);
  emulation::FailCall("cudaStreamSynchronize", 1, cudaErrorIllegalAddress);
  const absl::Status lost = backend_->HostView(x->data(), 2).status();
  EXPECT_EQ(lost.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(lost.message()), HasSubstr("waiting for the device"));
  EXPECT_THAT(std::string(lost.message()), HasSubstr("illegal"));

  float* const data = x->data();
  EXPECT_EQ(backend_->RmsNorm(data, data, 1, 2, 0, data), lost);
  EXPECT_EQ(backend_->SiluMul(data, 1, 1, data), lost);
  EXPECT_EQ(backend_->Allocate(1).status(), lost);
  EXPECT_EQ(backend_->HostView(data, 2).status(), lost);
  EXPECT_EQ(backend_->CopyFromHost(std::vector<float>{1}, data), lost);
  EXPECT_EQ(backend_->GetDeviceMemoryInfo().status(), lost);
}

TEST_F(CudaBackendFailureTest, AnEmptyViewWaitsAndFailsAsOthersDo) {
  const auto x = Upload(*backend_, std::vector<float>{3, 4});
  ASSERT_NE(x, nullptr);
  emulation::FailCall("cudaStreamSynchronize", 1, cudaErrorIllegalAddress);
  EXPECT_EQ(backend_->HostView(x->data(), 0).status().code(),
            absl::StatusCode::kInternal);
}

TEST_F(CudaBackendFailureTest, KernelsThatTheDeviceLacksLoseItToo) {
  const auto x = Upload(*backend_, std::vector<float>{3, 4});
  ASSERT_NE(x, nullptr);
  emulation::FailCall("cudaLaunchKernelExC", 1,
                      cudaErrorNoKernelImageForDevice);
  const absl::Status lost = backend_->SiluMul(x->data(), 1, 1, x->data());
  EXPECT_FALSE(lost.ok());
  EXPECT_EQ(backend_->HostView(x->data(), 2).status(), lost);
}

TEST_F(CudaBackendFailureTest, ALaunchThatFailsLosesTheDevice) {
  const auto x = Upload(*backend_, std::vector<float>{3, 4});
  ASSERT_NE(x, nullptr);
  emulation::FailCall("cudaLaunchKernelExC", 1, cudaErrorLaunchFailure);
  const absl::Status lost = backend_->SiluMul(x->data(), 1, 1, x->data());
  EXPECT_EQ(lost.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(lost.message()), HasSubstr("gating activations"));
  EXPECT_EQ(backend_->HostView(x->data(), 2).status(), lost);
}

}  // namespace
}  // namespace anyprec
