// tests/bench/tables.py: from result files to a README.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/child_process.h"

namespace anyprec {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kBegin[] =
    "<!-- benchmark tables: written by tests/bench/tables.py -->\n";
constexpr char kEnd[] = "<!-- end of benchmark tables -->\n";

void Write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

std::string Read(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class TablesTest : public testing::Test {
 protected:
  TablesTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    Write(readme_, std::string("before\n") + kBegin + "old\n" + kEnd + "after");
  }

  Outcome Tables() const {
    return RunToEnd({"tests/bench/tables.py", folder_, readme_});
  }
  Outcome Check() const {
    return RunToEnd({"tests/bench/tables.py", "--check", folder_, readme_});
  }

  const std::string folder_ = testing::TempDir() + "/results";
  const std::string readme_ = testing::TempDir() + "/README.md";
};

TEST_F(TablesTest, WithoutResultsThereIsNoTable) {
  Write(folder_ + "/other.json", R"({"context": {}, "benchmarks": []})");
  EXPECT_EQ(Check().exit_code, 1);
  ASSERT_EQ(Tables().exit_code, 0);
  EXPECT_EQ(Read(readme_), std::string("before\n") + kBegin + kEnd + "after");
  EXPECT_EQ(Check().exit_code, 0);
}

TEST_F(TablesTest, LinearResultsBecomeARowForEachShapeAndM) {
  Write(folder_ + "/linear.json", R"({
    "benchmark": "linear", "device": "GPU", "date": "2026-01-02",
    "graph": true, "results": [
      {"n": 64, "k": 32, "rows": 1, "bits": 3, "us": 1.26, "of_copy": 0.5,
       "speed_up": 4.126},
      {"n": 64, "k": 32, "rows": 1, "bits": 4, "us": 2, "of_copy": 0.25}]})");
  ASSERT_EQ(Tables().exit_code, 0);
  const std::string text = Read(readme_);
  EXPECT_THAT(text, HasSubstr("GPU, in CUDA graphs, 2026-01-02"));
  EXPECT_THAT(text, HasSubstr("| n x k | M | 3 bits | 4 bits |\n|---|---|---|"
                              "---|\n| 64 x 32 | 1 | 1.3, 50%, 4.13x | 2.0, "
                              "25% |\n"));
  EXPECT_THAT(text, Not(HasSubstr("old")));
  EXPECT_EQ(Check().exit_code, 0);
}

TEST_F(TablesTest, AttentionResultsBecomeARowForEachBatchAndChunk) {
  Write(folder_ + "/attention.json", R"({
    "benchmark": "attention", "device": "GPU", "date": "2026-01-02",
    "graph": false, "results": [
      {"heads": 32, "kv_heads": 8, "head_dim": 128, "sequences": 2, "rows": 1,
       "context": 128, "us": 1.26, "of_copy": 0.5, "tflop_per_s": 1},
      {"heads": 32, "kv_heads": 8, "head_dim": 128, "sequences": 2, "rows": 1,
       "context": 256, "us": 2, "of_copy": 0.25, "tflop_per_s": 1},
      {"heads": 32, "kv_heads": 8, "head_dim": 128, "sequences": 1, "rows": 200,
       "context": 256, "us": 3, "of_copy": 0.1, "tflop_per_s": 12.34}]})");
  ASSERT_EQ(Tables().exit_code, 0);
  const std::string text = Read(readme_);
  EXPECT_THAT(text, HasSubstr("GPU, plain launches, 2026-01-02"));
  EXPECT_THAT(text, HasSubstr("| heads / KV heads | sequences | rows of each | "
                              "context 128 | context 256 |\n"));
  EXPECT_THAT(text, HasSubstr("| 32 / 8 x 128 | 2 | 1 | 1.3, 50% | 2.0, 25% |\n"
                              "| 32 / 8 x 128 | 1 | 200 |  | 3.0, 12.3 |\n"));
}

TEST_F(TablesTest, EngineResultsLeaveGapsWhereNothingWasMeasured) {
  Write(folder_ + "/engine.json", R"({
    "benchmark": "engine", "model": "m", "device": "GPU",
    "date": "2026-01-02", "results": [
      {"bits": 3, "batch": 1, "context": 128, "decode_tokens_per_s": 900.4},
      {"bits": 16, "batch": 2, "context": 128, "decode_tokens_per_s": 300}],
    "mixed": [{"bits": "3+4", "streams_each": 2, "context": 128,
               "mixed_tokens_per_s": 50, "grouped_tokens_per_s": 40}]})");
  ASSERT_EQ(Tables().exit_code, 0);
  const std::string text = Read(readme_);
  EXPECT_THAT(text, HasSubstr("| context | batch | 3 bits | fp16 |\n"));
  EXPECT_THAT(text, HasSubstr("| 128 | 1 | 900 |  |\n"));
  EXPECT_THAT(text, HasSubstr("| 128 | 2 |  | 300 |\n"));
  EXPECT_THAT(text, HasSubstr("50 tokens/s together, 40 in separate"));
}

TEST_F(TablesTest, AReadmeWithoutTheMarkersIsAnError) {
  Write(readme_, "nothing");
  const Outcome outcome = Tables();
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("each once"));
  EXPECT_EQ(Read(readme_), "nothing");
}

}  // namespace
}  // namespace anyprec
