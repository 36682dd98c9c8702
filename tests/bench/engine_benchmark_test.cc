// engine_benchmark on the CPU, with the smallest synthetic model: what it
// reports, not how fast that is.
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/child_process.h"

namespace anyprec {
namespace {

using testing::HasSubstr;

Outcome RunBenchmark(const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {"tests/bench/engine_benchmark",
                                        "--model=synthetic:smollm2-135m",
                                        "--device=cpu"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return RunToEnd(arguments);
}

TEST(EngineBenchmarkTest, MeasuresWhatFitsAndNamesWhatDoesNot) {
  const std::string path = testing::TempDir() + "/engine.json";
  const Outcome outcome = RunBenchmark(
      {"--bits=3,16", "--batches=1,2", "--contexts=8,100000", "--tokens=6",
       "--mixed_bits=3,4", "--mixed_streams=1", "--json=" + path});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  std::ifstream file(path);
  const auto report = nlohmann::json::parse(file);
  EXPECT_EQ(report["benchmark"], "engine");
  EXPECT_THAT(report["device"].get<std::string>(), HasSubstr("cpu"));
  ASSERT_EQ(report["results"].size(), 4u);
  const std::vector<int> bits = {3, 3, 16, 16};
  for (size_t i = 0; i < bits.size(); ++i) {
    const auto& row = report["results"][i];
    EXPECT_EQ(row["bits"], bits[i]);
    EXPECT_EQ(row["batch"], static_cast<int>(i) % 2 + 1);
    EXPECT_EQ(row["context"], 8);
    EXPECT_GT(row["decode_tokens_per_s"], 0);
    EXPECT_GT(row["prefill_tokens_per_s"], 0);
  }
  EXPECT_LT(report["results"][0]["weight_bytes"],
            report["results"][2]["weight_bytes"]);
  ASSERT_EQ(report["mixed"].size(), 1u);
  EXPECT_EQ(report["mixed"][0]["bits"], "3+4");
  ASSERT_EQ(report["left_out"].size(), 5u);
  for (const auto& row : report["left_out"]) {
    EXPECT_EQ(row["context"], 100000);
    EXPECT_THAT(row["why"].get<std::string>(),
                HasSubstr("100006 tokens of context"));
  }
}

TEST(EngineBenchmarkTest, RefusesWrongFlags) {
  for (const std::string flag :
       {"--bits=9", "--bits=x", "--batches=0", "--contexts=", "--tokens=1",
        "--device=tpu", "--mixed_bits=16"}) {
    const Outcome outcome = RunBenchmark({flag});
    EXPECT_EQ(outcome.exit_code, 2) << flag;
    EXPECT_THAT(outcome.errors, HasSubstr("engine_benchmark: "));
  }
}

}  // namespace
}  // namespace anyprec
