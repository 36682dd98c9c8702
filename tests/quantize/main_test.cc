// The binary as a user calls it: exit statuses, messages, and a real model with
// its own tokenizer measured by real forward passes.

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/quantize/tiny_checkpoint.h"

namespace anyprec {
namespace {

constexpr char kBinary[] = "quantize/anyprec-quantize";
constexpr char kTinyLlama[] = "tests/testdata/tiny-llama";

class MainTest : public testing::Test {
 protected:
  // Runs the binary and returns its exit status; output_ is what it printed.
  int Run(const std::string& flags) {
    const std::string log = folder_ / "log";
    const int status = std::system(
        absl::StrCat(kBinary, " ", flags, " > ", log, " 2>&1").c_str());
    output_ = ReadFile(log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  TemporaryFolder folder_;
  std::string output_;
};

TEST_F(MainTest, ExitsWith2ForFlagsThatMakeNoSense) {
  const std::string paths =
      absl::StrCat("--input=x --sensitivity=uniform --output=", folder_ / "o");
  EXPECT_EQ(Run(""), 2);
  EXPECT_EQ(Run("--input=x"), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --seed_bits=1")), 2);
  EXPECT_TRUE(absl::StrContains(output_, "--seed_bits is \"1\"")) << output_;
  EXPECT_EQ(Run(absl::StrCat(paths, " --parent_bits=9")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --seed_bits=5 --parent_bits=4")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --lm_head=int4")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --threads=-1")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --sensitivity=fisher")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --sensitivity=file")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --sensitivity=activation")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " stray")), 2);
}

TEST_F(MainTest, ExitsWith1WhereTheInputIsMissing) {
  EXPECT_EQ(Run(absl::StrCat("--sensitivity=uniform --input=", folder_ / "none",
                             " --output=", folder_ / "out")),
            1);
  EXPECT_TRUE(absl::StrContains(output_, folder_ / "none")) << output_;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(MainTest, QuantizesARealModelByActivations) {
  const auto flags = [&](int threads) {
    return absl::StrCat("--input=", kTinyLlama, " --output=", folder_ / "out",
                        threads, " --calibration=", kTinyLlama,
                        "/heldout.txt --calibration_documents=4 "
                        "--calibration_tokens=64 --lm_head=int8 --threads=",
                        threads);
  };
  ASSERT_EQ(Run(flags(1)), 0) << output_;
  EXPECT_TRUE(absl::StrContains(output_, "relative weighted error"));
  EXPECT_TRUE(absl::StrContains(output_, "4 sequences of 64 tokens"));
  ASSERT_EQ(Run(flags(3)), 0) << output_;
  EXPECT_EQ(ReadFolder(folder_ / "out1"), ReadFolder(folder_ / "out3"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out1.activations"));
  // Again: it is there already.
  EXPECT_EQ(Run(flags(1)), 1);
  EXPECT_TRUE(absl::StrContains(output_, "--overwrite")) << output_;
  EXPECT_EQ(Run(absl::StrCat(flags(1), " --overwrite")), 0) << output_;
}

}  // namespace
}  // namespace anyprec
