// Against a folder that looks like /sys/class/powercap, and a clock of its own.
#include "server/rapl_meter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kRangeMicrojoules = 262'143'328'850;  // of a Xeon

class RaplMeterTest : public ::testing::Test {
 protected:
  RaplMeterTest() {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }

  void SetEnergy(const std::string& domain, int64_t microjoules) {
    std::ofstream(root_ / domain / "energy_uj") << microjoules << "\n";
  }

  void AddDomain(const std::string& domain, const std::string& name,
                 int64_t microjoules) {
    std::filesystem::create_directory(root_ / domain);
    std::ofstream(root_ / domain / "name") << name << "\n";
    std::ofstream(root_ / domain / "max_energy_range_uj")
        << kRangeMicrojoules << "\n";
    SetEnergy(domain, microjoules);
  }

  absl::StatusOr<std::unique_ptr<RaplMeter>> Open() {
    return RaplMeter::Open(root_.string(), [this] { return now_; });
  }

  std::string OpenError() {
    const auto meter = Open();
    EXPECT_EQ(meter.status().code(), absl::StatusCode::kFailedPrecondition);
    return std::string(meter.status().message());
  }

  const std::filesystem::path root_ =
      std::filesystem::path(::testing::TempDir()) / "powercap";
  absl::Duration now_ = absl::Seconds(1000);
};

TEST_F(RaplMeterTest, PowerIsTheEnergyBetweenTwoCallsByTheTime) {
  AddDomain("intel-rapl:0", "package-0", 5'000'000);
  const auto meter = Open();
  ASSERT_TRUE(meter.ok()) << meter.status();
  SetEnergy("intel-rapl:0", 35'000'000);
  now_ += absl::Milliseconds(500);
  EXPECT_DOUBLE_EQ((*meter)->Watts().value(), 60);
  SetEnergy("intel-rapl:0", 45'000'000);
  now_ += absl::Seconds(2);
  EXPECT_DOUBLE_EQ((*meter)->Watts().value(), 5);
}

TEST_F(RaplMeterTest, PackagesAndTheirMemoryAreSummedAndNothingTwice) {
  AddDomain("intel-rapl:0", "package-0", 0);
  AddDomain("intel-rapl:0:0", "core", 0);
  AddDomain("intel-rapl:0:1", "dram", 0);
  AddDomain("intel-rapl:1", "package-1", 0);
  AddDomain("intel-rapl:2", "psys", 0);
  AddDomain("intel-rapl-mmio:0", "package-0", 0);
  const auto meter = Open();
  ASSERT_TRUE(meter.ok()) << meter.status();
  EXPECT_EQ((*meter)->name(), "RAPL package-0, dram, package-1");
  SetEnergy("intel-rapl:0", 100'000'000);
  SetEnergy("intel-rapl:0:0", 80'000'000);
  SetEnergy("intel-rapl:0:1", 10'000'000);
  SetEnergy("intel-rapl:1", 50'000'000);
  SetEnergy("intel-rapl:2", 200'000'000);
  SetEnergy("intel-rapl-mmio:0", 100'000'000);
  now_ += absl::Seconds(1);
  EXPECT_DOUBLE_EQ((*meter)->Watts().value(), 160);
}

TEST_F(RaplMeterTest, ACounterThatWrapsAroundLosesNothing) {
  AddDomain("intel-rapl:0", "package-0", kRangeMicrojoules - 30'000'000);
  const auto meter = Open();
  ASSERT_TRUE(meter.ok()) << meter.status();
  SetEnergy("intel-rapl:0", 10'000'000);
  now_ += absl::Seconds(1);
  EXPECT_DOUBLE_EQ((*meter)->Watts().value(), 40);
}

TEST_F(RaplMeterTest, WithoutTimeThereIsNoPower) {
  AddDomain("intel-rapl:0", "package-0", 0);
  const auto meter = Open();
  ASSERT_TRUE(meter.ok()) << meter.status();
  EXPECT_EQ((*meter)->Watts().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(RaplMeterTest, AMachineWithoutRaplIsNamedWithTheReason) {
  std::filesystem::remove_all(root_);
  EXPECT_THAT(OpenError(), AllOf(HasSubstr(root_.string()),
                                 HasSubstr("No such file or directory")));
}

TEST_F(RaplMeterTest, AFolderWithoutPackagesSaysWhatIsMissing) {
  AddDomain("intel-rapl:0", "psys", 0);
  EXPECT_THAT(OpenError(), AllOf(HasSubstr(root_.string()),
                                 HasSubstr("no RAPL domain of a package")));
}

TEST_F(RaplMeterTest, ACounterThatCannotBeReadIsNamed) {
  AddDomain("intel-rapl:0", "package-0", 0);
  std::filesystem::remove(root_ / "intel-rapl:0" / "energy_uj");
  // A folder cannot be read by anyone, where root may read any file.
  std::filesystem::create_directory(root_ / "intel-rapl:0" / "energy_uj");
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("intel-rapl:0/energy_uj"),
                                 HasSubstr("Is a directory")));
}

TEST_F(RaplMeterTest, ACounterThatIsNoNumberIsNamed) {
  AddDomain("intel-rapl:0", "package-0", 0);
  std::ofstream(root_ / "intel-rapl:0" / "energy_uj") << "much\n";
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("intel-rapl:0/energy_uj"),
                                 HasSubstr("\"much\"")));
}

TEST_F(RaplMeterTest, ACounterThatVanishesIsAnErrorOfThatCallOnly) {
  AddDomain("intel-rapl:0", "package-0", 0);
  const auto meter = Open();
  ASSERT_TRUE(meter.ok()) << meter.status();
  std::filesystem::remove(root_ / "intel-rapl:0" / "energy_uj");
  now_ += absl::Seconds(1);
  EXPECT_EQ((*meter)->Watts().status().code(),
            absl::StatusCode::kFailedPrecondition);
  SetEnergy("intel-rapl:0", 40'000'000);
  now_ += absl::Seconds(1);
  EXPECT_DOUBLE_EQ((*meter)->Watts().value(), 20);
}

}  // namespace
}  // namespace anyprec
