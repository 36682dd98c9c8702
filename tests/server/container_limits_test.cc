#include "server/container_limits.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

class ContainerLimitsTest : public testing::Test {
 protected:
  ContainerLimitsTest()
      : root_(testing::TempDir() + "/" +
              testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::create_directories(root_ + "/cgroup/outer/inner");
  }
  ~ContainerLimitsTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& name, const std::string& content) {
    std::ofstream(root_ + "/" + name) << content << "\n";
  }

  ContainerLimits Read() {
    return ReadContainerLimits(root_ + "/cgroup", root_ + "/membership");
  }

 private:
  const std::string root_;
};

TEST_F(ContainerLimitsTest, TheTightestOfAllGroupsAroundHolds) {
  Write("membership", "1:cpu:/other\n0::/outer/inner");
  Write("cgroup/outer/inner/cpu.max", "350000 100000");
  Write("cgroup/outer/cpu.max", "800000 100000");
  Write("cgroup/outer/inner/memory.max", "max");
  Write("cgroup/outer/memory.max", "1073741824");
  EXPECT_EQ(Read().cpus, 4);  // 3.5, rounded up
  EXPECT_EQ(Read().memory_bytes, 1073741824);
}

TEST_F(ContainerLimitsTest, AContainersOwnGroupIsTheRoot) {
  Write("membership", "0::/");
  Write("cgroup/cpu.max", "200000 100000");
  Write("cgroup/memory.max", "500");
  EXPECT_EQ(Read().cpus, 2);
  EXPECT_EQ(Read().memory_bytes, 500);
}

TEST_F(ContainerLimitsTest, WithoutLimitsThereAreNone) {
  Write("membership", "0::/outer");
  Write("cgroup/outer/cpu.max", "max 100000");
  EXPECT_EQ(Read().cpus, std::nullopt);
  EXPECT_EQ(Read().memory_bytes, std::nullopt);
}

TEST_F(ContainerLimitsTest, UnreadableOrWrongFilesLimitNothing) {
  EXPECT_EQ(Read().cpus, std::nullopt);
  Write("membership", "0::/outer");
  Write("cgroup/outer/cpu.max", "-3 0");
  Write("cgroup/outer/memory.max", "lots");
  EXPECT_EQ(Read().cpus, std::nullopt);
  EXPECT_EQ(Read().memory_bytes, std::nullopt);
}

}  // namespace
}  // namespace anyprec
