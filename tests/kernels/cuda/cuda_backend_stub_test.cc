#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"

namespace anyprec {
namespace {

TEST(CudaBackendStubTest, SaysThatTheBuildHasNoneAndWhatToDo) {
  const absl::Status status = CreateCudaBackend({.device = 1}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  const std::string message(status.message());
  EXPECT_THAT(message, testing::HasSubstr("device 1"));
  EXPECT_THAT(message, testing::HasSubstr("--device=cpu"));
}

}  // namespace
}  // namespace anyprec
