#include "quantize/fingerprint.h"

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tests/quantize/tiny_checkpoint.h"

namespace anyprec {
namespace {

namespace fs = std::filesystem;

class FingerprintTest : public testing::Test {
 protected:
  // Writes a file that looks like any other of its size from outside.
  void Write(const std::string& name, const std::string& text) {
    WriteFile(folder_ / name, text);
    fs::last_write_time(folder_ / name, fs::file_time_type());
  }

  static std::string Of(const std::string& path) {
    const auto fingerprint = PathFingerprint(path);
    EXPECT_TRUE(fingerprint.ok()) << fingerprint.status();
    return fingerprint.value_or("");
  }

  TemporaryFolder folder_;
};

TEST_F(FingerprintTest, FollowsTheContentOfAFile) {
  Write("a", "one");
  const std::string one = Of(folder_ / "a");
  Write("a", "two");
  EXPECT_NE(Of(folder_ / "a"), one);
  Write("a", "one");
  EXPECT_EQ(Of(folder_ / "a"), one);
}

TEST_F(FingerprintTest, FollowsNamesAndContentsOfAFolder) {
  Write("a", "one");
  Write("b", "two");
  const std::string first = Of(folder_.path());
  Write("b", "six");
  EXPECT_NE(Of(folder_.path()), first);
  Write("a", "two");
  Write("b", "one");
  EXPECT_NE(Of(folder_.path()), first);
}

TEST_F(FingerprintTest, IsBlindToTime) {
  Write("a", "one");
  const std::string then = Of(folder_.path());
  fs::last_write_time(folder_ / "a", fs::file_time_type::clock::now());
  EXPECT_EQ(Of(folder_.path()), then);
}

TEST_F(FingerprintTest, ReportsThatNothingIsThere) {
  EXPECT_EQ(PathFingerprint(folder_ / "none").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace anyprec
