#include "server/nvml_meter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kFakeLibrary[] = "tests/server/libfake_nvml.so";

std::string OpenError(const std::string& library, const std::string& device) {
  const auto meter = NvmlMeter::Open(library, device);
  EXPECT_EQ(meter.status().code(), absl::StatusCode::kFailedPrecondition);
  return std::string(meter.status().message());
}

TEST(NvmlMeterTest, ReadsThePowerOfTheFirstGpu) {
  const auto meter = NvmlMeter::Open(kFakeLibrary, "");
  ASSERT_TRUE(meter.ok()) << meter.status();
  EXPECT_DOUBLE_EQ((*meter)->Watts().value(), 250);
  EXPECT_EQ((*meter)->name(), "NVML Fake 100");
}

TEST(NvmlMeterTest, FindsAGpuByItsId) {
  const auto meter = NvmlMeter::Open(kFakeLibrary, "GPU-fake");
  ASSERT_TRUE(meter.ok()) << meter.status();
  EXPECT_DOUBLE_EQ((*meter)->Watts().value(), 300);
}

TEST(NvmlMeterTest, AMachineWithoutADriverIsToldTheLibrary) {
  EXPECT_THAT(OpenError("libnvidia-ml-none.so.1", ""),
              AllOf(HasSubstr("NVML: libnvidia-ml-none.so.1"),
                    HasSubstr("No such file")));
}

TEST(NvmlMeterTest, ALibraryOfAnotherKindIsToldTheMissingFunction) {
  EXPECT_THAT(OpenError("libm.so.6", ""), HasSubstr("nvmlInit_v2"));
}

TEST(NvmlMeterTest, AGpuThatIsNotThereIsNamed) {
  EXPECT_THAT(OpenError(kFakeLibrary, "7"),
              AllOf(HasSubstr("GPU 7"), HasSubstr("Not Found")));
  EXPECT_THAT(OpenError(kFakeLibrary, "GPU-none"),
              AllOf(HasSubstr("GPU-none"), HasSubstr("Not Found")));
}

TEST(NvmlMeterTest, AGpuWithoutAMeterIsRefusedWhenItIsOpened) {
  EXPECT_THAT(
      OpenError(kFakeLibrary, "1"),
      AllOf(HasSubstr("nvmlDeviceGetPowerUsage"), HasSubstr("Not Supported")));
}

}  // namespace
}  // namespace anyprec
