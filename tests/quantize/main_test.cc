// The binary as a user calls it: exit statuses, messages, and a real model with
// its own tokenizer measured by real forward passes.

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <set>
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
  EXPECT_TRUE(absl::StrContains(output_, "--seed_bits is 1")) << output_;
  EXPECT_EQ(Run(absl::StrCat(paths, " --parent_bits=9")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --seed_bits=5 --parent_bits=4")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --lm_head=int4")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --threads=-1")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --sensitivity=fisher")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --sensitivity=file")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --sensitivity=activation")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " stray")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --scheme=rtn")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --group_size=128")), 2);
  EXPECT_TRUE(absl::StrContains(
      output_, "--group_size is \"128\", needed is --scheme=bcq with it"))
      << output_;
  EXPECT_EQ(Run(absl::StrCat(paths, " --scheme=bcq --group_size=0")), 2);
  EXPECT_EQ(Run(absl::StrCat(paths, " --scheme=bcq --group_size=48")), 2);
  EXPECT_TRUE(absl::StrContains(
      output_, "--group_size is \"48\", needed is a positive multiple of 32"))
      << output_;
}

TEST_F(MainTest, ExitsWith2ForFlagsThatDoNotParse) {
  EXPECT_EQ(Run("--threads=many"), 2);
  EXPECT_TRUE(absl::StrContains(output_, "--threads is \"many\"")) << output_;
  EXPECT_EQ(Run("--seed_bit=3"), 2);
  EXPECT_TRUE(absl::StrContains(output_, "--seed_bits?")) << output_;
}

TEST_F(MainTest, HelpIsNoFailure) {
  EXPECT_EQ(Run("--help"), 0);
  EXPECT_TRUE(absl::StrContains(output_, "--sensitivity=activation|uniform"))
      << output_;
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
  // Again: it is there already.
  EXPECT_EQ(Run(flags(1)), 1);
  EXPECT_TRUE(absl::StrContains(output_, "--overwrite")) << output_;
  WriteFile(folder_ / "out1/NOTES.txt", "mine");
  EXPECT_EQ(Run(absl::StrCat(flags(1), " --overwrite")), 0) << output_;
  EXPECT_EQ(ReadFile(folder_ / "out1/NOTES.txt"), "mine");
  std::set<std::string> left;
  for (const auto& entry :
       std::filesystem::directory_iterator(folder_.path())) {
    left.insert(entry.path().filename().string());
  }
  EXPECT_EQ(left, (std::set<std::string>{"log", "out1", "out3"}));
}

TEST_F(MainTest, QuantizesToScalesOfGroups) {
  ASSERT_EQ(Run(absl::StrCat("--input=", kTinyLlama, " --output=",
                             folder_ / "out", " --sensitivity=uniform",
                             " --scheme=bcq --seed_bits=2 --parent_bits=3")),
            0)
      << output_;
  EXPECT_TRUE(absl::StrContains(output_, "bits/weight with scales"));
  const std::string config = ReadFile(folder_ / "out/config.json");
  EXPECT_TRUE(absl::StrContains(config, "\"scheme\": \"bcq\"")) << config;
  EXPECT_TRUE(absl::StrContains(config, "\"group_size\": 128")) << config;
}

TEST_F(MainTest, SaysThatSequencesAreCutToTheContext) {
  // Longer than heldout.txt, so that it ends there.
  EXPECT_EQ(Run(absl::StrCat("--input=", kTinyLlama, " --output=",
                             folder_ / "out", " --calibration=", kTinyLlama,
                             "/heldout.txt --calibration_tokens=10000")),
            1);
  EXPECT_TRUE(absl::StrContains(
      output_, "--calibration_tokens is 10000, the model's context has 512"))
      << output_;
}

TEST_F(MainTest, ExitsWith1WhereTheReportCannotBePrinted) {
  const std::string log = folder_ / "errors";
  const int status = std::system(
      absl::StrCat(kBinary, " --input=", kTinyLlama,
                   " --sensitivity=uniform --output=", folder_ / "out",
                   " > /dev/full 2> ", log)
          .c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_TRUE(absl::StrContains(ReadFile(log), "cannot write to stdout"));
}

}  // namespace
}  // namespace anyprec
