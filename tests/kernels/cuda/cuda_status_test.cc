#include "kernels/cuda/cuda_status.h"

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace anyprec {
namespace {

TEST(CudaStatusTest, SuccessIsOk) {
  EXPECT_TRUE(CudaStatus(cudaSuccess, "launching").ok());
}

TEST(CudaStatusTest, SaysWhatWasAttemptedAndWhatCudaSaid) {
  const absl::Status status =
      CudaStatus(cudaErrorIllegalAddress, "launching attention");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(),
            "launching attention: an illegal memory access was encountered "
            "(cudaErrorIllegalAddress)");
}

TEST(CudaStatusTest, OutOfMemoryIsAResourceThatRanOut) {
  EXPECT_EQ(CudaStatus(cudaErrorMemoryAllocation, "").code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(CudaStatusTest, AMissingDeviceOrDriverIsAPrecondition) {
  for (const cudaError_t error :
       {cudaErrorNoDevice, cudaErrorInsufficientDriver, cudaErrorInvalidDevice,
        cudaErrorNoKernelImageForDevice}) {
    EXPECT_EQ(CudaStatus(error, "").code(),
              absl::StatusCode::kFailedPrecondition);
  }
}

}  // namespace
}  // namespace anyprec
