#include "kernels/cuda/device_memory.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/emulation/runtime.h"

namespace anyprec {
namespace {

using testing::HasSubstr;

class DeviceMemoryTest : public testing::Test {
 protected:
  DeviceMemoryTest() { emulation::ResetDevice(); }
  ~DeviceMemoryTest() override { emulation::ResetDevice(); }
};

TEST_F(DeviceMemoryTest, IsFreedWithItsOwner) {
  {
    const absl::StatusOr<DeviceMemory> memory =
        DeviceMemory::Allocate(200, "codebooks");
    ASSERT_TRUE(memory.ok());
    EXPECT_NE(memory->data(), nullptr);
    EXPECT_EQ(memory->bytes(), 200);
    EXPECT_EQ(emulation::DeviceBytesInUse(), 200);
  }
  EXPECT_EQ(emulation::DeviceBytesInUse(), 0);
}

TEST_F(DeviceMemoryTest, MovesItsMemoryAlong) {
  DeviceMemory first = *DeviceMemory::Allocate(64, "first");
  void* const data = first.data();
  DeviceMemory second = std::move(first);
  EXPECT_EQ(second.data(), data);
  second = *DeviceMemory::Allocate(32, "second");
  EXPECT_EQ(second.bytes(), 32);
  EXPECT_EQ(emulation::DeviceBytesInUse(), 32);
}

TEST_F(DeviceMemoryTest, NothingTakesNoMemory) {
  const absl::StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(0, "");
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory->data(), nullptr);
}

TEST_F(DeviceMemoryTest, SaysWhatItWasForAndHowManyBytesAreFree) {
  emulation::SetDeviceMemory(1000);
  const DeviceMemory taken = *DeviceMemory::Allocate(400, "weights");
  const absl::Status status =
      DeviceMemory::Allocate(601, "the KV cache").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("the KV cache, 601 bytes"));
  EXPECT_THAT(message, HasSubstr("600 of 1000 are free"));
  EXPECT_THAT(message, HasSubstr("cudaErrorMemoryAllocation"));
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);  // the device goes on
  EXPECT_TRUE(DeviceMemory::Allocate(600, "the KV cache").ok());
}

}  // namespace
}  // namespace anyprec
