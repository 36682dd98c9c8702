#include "quantize/file_sensitivity.h"

#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tests/quantize/tiny_checkpoint.h"

namespace anyprec {
namespace {

class FileSensitivityTest : public testing::Test {
 protected:
  absl::StatusOr<SampleWeights> Read(const FloatTensor& tensor, int n, int k,
                                     const std::string& name = "a.weight") {
    WriteSafetensors(folder_.path(), {{name, tensor}});
    const auto source = FileSensitivity::Open(folder_ / "model.safetensors");
    if (!source.ok()) return source.status();
    return (*source)->WeightsFor("a", n, k);
  }

  // The error of reading `tensor` names the file and the tensor.
  void ExpectError(const FloatTensor& tensor, absl::StatusCode code,
                   const std::string& part) {
    const absl::Status status = Read(tensor, 2, 3).status();
    EXPECT_EQ(status.code(), code) << status;
    for (const std::string& needed :
         {folder_ / "model.safetensors", std::string("a.weight"), part}) {
      EXPECT_NE(status.message().find(needed), absl::string_view::npos)
          << status << " lacks " << needed;
    }
  }

  TemporaryFolder folder_;
};

TEST_F(FileSensitivityTest, ReadsAMatrix) {
  const auto weights = Read({{2, 3}, {1, 2, 3, 4, 5, 6}}, 2, 3);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->Row(1)[0], 4);
}

TEST_F(FileSensitivityTest, BroadcastsAVector) {
  const auto weights = Read({{3}, {1, 2, 3}}, 2, 3);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->Row(0)[2], 3);
  EXPECT_EQ(weights->Row(1)[2], 3);
}

TEST_F(FileSensitivityTest, ReadsAFolder) {
  WriteSafetensors(folder_.path(), {{"a.weight", {{3}, {1, 2, 3}}}});
  const auto source = FileSensitivity::Open(folder_.path());
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_TRUE((*source)->WeightsFor("a", 2, 3).ok());
}

TEST_F(FileSensitivityTest, ReportsAMissingTensor) {
  EXPECT_EQ(Read({{3}, {1, 2, 3}}, 2, 3, "b.weight").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(FileSensitivityTest, ReportsAMissingFile) {
  EXPECT_EQ(FileSensitivity::Open(folder_ / "none").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(FileSensitivityTest, ReportsAnotherShape) {
  ExpectError({{3, 2}, {1, 2, 3, 4, 5, 6}}, absl::StatusCode::kInvalidArgument,
              "[3, 2]");
}

TEST_F(FileSensitivityTest, ReportsANegativeValue) {
  ExpectError({{3}, {1, -2, 3}}, absl::StatusCode::kInvalidArgument,
              "element 1 is -2");
}

TEST_F(FileSensitivityTest, ReportsNaN) {
  ExpectError({{3}, {1, 2, std::numeric_limits<float>::quiet_NaN()}},
              absl::StatusCode::kDataLoss, "element 2 is NaN");
}

TEST_F(FileSensitivityTest, ReportsATruncatedFile) {
  WriteSafetensors(folder_.path(), {{"a.weight", {{3}, {1, 2, 3}}}});
  const std::string path = folder_ / "model.safetensors";
  const std::string whole = ReadFile(path);
  WriteFile(path, whole.substr(0, whole.size() - 1));
  EXPECT_FALSE(FileSensitivity::Open(path).ok());
}

TEST_F(FileSensitivityTest, FingerprintFollowsTheFile) {
  WriteSafetensors(folder_.path(), {{"a.weight", {{3}, {1, 2, 3}}}});
  const auto first = FileSensitivity::Open(folder_.path());
  const auto again = FileSensitivity::Open(folder_.path());
  WriteSafetensors(folder_.path(), {{"a.weight", {{2}, {1, 2}}}});
  const auto other = FileSensitivity::Open(folder_.path());
  ASSERT_TRUE(first.ok() && again.ok() && other.ok());
  EXPECT_EQ((*first)->fingerprint(), (*again)->fingerprint());
  EXPECT_NE((*first)->fingerprint(), (*other)->fingerprint());
}

}  // namespace
}  // namespace anyprec
