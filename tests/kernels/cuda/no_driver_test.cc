// The CUDA backend as nvcc built it, where there is nothing to run it on.
#include <cuda_runtime_api.h>

#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"

namespace anyprec {
namespace {

TEST(NoDriverTest, OneLineSaysThatThereIsNoDeviceToUse) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0) {
    GTEST_SKIP() << "this machine has a CUDA device";
  }
  const absl::Status status = CreateCudaBackend({.device = 0}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  const std::string message(status.message());
  EXPECT_THAT(message, testing::HasSubstr("NVIDIA driver"));
  EXPECT_THAT(message, testing::Not(testing::HasSubstr("\n")));
}

}  // namespace
}  // namespace anyprec
