#include "runtime/scheduler/step_cost_table.h"

#include <string>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr char kTable[] = R"({
  "name": "test",
  "kv_tokens": 16000,
  "context_us": {"decode": 0.5, "prefill": 0.25},
  "shared_ms": 1.5,
  "steps": [
    {"phase": "decode", "bits": 3, "rows": 1, "ms": 4},
    {"phase": "decode", "bits": 8, "rows": 1, "ms": 8},
    {"phase": "prefill", "bits": 3, "rows": 128, "ms": 100}
  ]
})";

TEST(StepCostTableTest, SaysWhatStepsTake) {
  const auto table = ParseStepCostTable(kTable, "t.json");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->name, "test");
  EXPECT_EQ(table->kv_tokens, 16000);
  EXPECT_EQ(table->min_bits, 3);
  EXPECT_EQ(table->max_bits, 8);
  EXPECT_EQ(table->costs.Predict({Phase::kDecode, 8, 1}),
            absl::Milliseconds(8));
  EXPECT_EQ(table->costs.Predict({Phase::kDecode, 8, 1, 2000}),
            absl::Milliseconds(9));
  EXPECT_EQ(table->costs.SharedTime(), absl::Microseconds(1500));
}

TEST(StepCostTableTest, WhatIsWrittenIsReadAgain) {
  const auto table = ParseStepCostTable(kTable, "t.json");
  ASSERT_TRUE(table.ok()) << table.status();
  const auto again = ParseStepCostTable(ToJson(*table), "again");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ToJson(*again), ToJson(*table));
  EXPECT_EQ(again->kv_tokens, 16000);
  EXPECT_EQ(again->costs.Points().size(), 3u);
  EXPECT_EQ(again->costs.ContextTime(Phase::kPrefill), absl::Nanoseconds(250));
}

// What is said of the table with `to` in place of `from`.
std::string Error(const std::string& from, const std::string& to) {
  std::string table = kTable;
  table.replace(table.find(from), from.size(), to);
  return std::string(ParseStepCostTable(table, "t.json").status().message());
}

TEST(StepCostTableTest, SaysWhatIsWrong) {
  EXPECT_EQ(
      Error("\"kv_tokens\": 16000", "\"kv_tokens\": 0"),
      "t.json: \"kv_tokens\" is 0; must be an integer in [1, 1073741824]");
  EXPECT_EQ(Error("\"bits\": 8", "\"bits\": 2.5"),
            "t.json: steps[1]: \"bits\" is 2.5; must be an integer in [1, 16]");
  EXPECT_EQ(Error("\"ms\": 4", "\"ms\": 1e7"),
            "t.json: steps[0]: \"ms\" is 10000000.0; must be a number in "
            "(0, 1e+06]");
  EXPECT_EQ(Error("\"ms\": 4", "\"ms\": \"4\""),
            "t.json: steps[0]: \"ms\" is \"4\"; must be a number in "
            "(0, 1e+06]");
  EXPECT_EQ(Error("\"decode\": 0.5", "\"decode\": -1"),
            "t.json: context_us: \"decode\" is -1; must be a number in "
            "[0, 1e+06]");
  EXPECT_EQ(Error("\"name\": \"test\"", "\"name\": 5"),
            "t.json: \"name\" is 5; must be a text");
  EXPECT_EQ(Error("\"prefill\", \"bits\"", "\"x\", \"bits\""),
            "t.json: steps[2]: \"phase\" is \"x\"; must be \"decode\" or "
            "\"prefill\"");
  EXPECT_EQ(Error("\"prefill\", ", "\"decode\", "),
            "t.json: steps: none is a prefill step; needs at least one of each "
            "phase");
  EXPECT_EQ(Error("\"steps\"", "\"stips\""),
            "t.json: \"steps\" is missing; must be a list");
  EXPECT_EQ(Error("{\"decode\": 0.5, \"prefill\": 0.25}", "[1]"),
            "t.json: \"context_us\" is a JSON array; must be an object");
  EXPECT_EQ(Error("\"steps\": [", "\"steps\": [7, "),
            "t.json: steps[0] is 7; must be an object");
}

TEST(StepCostTableTest, AStepTakesTimeThoughContextMayNot) {
  EXPECT_EQ(Error("\"ms\": 4", "\"ms\": 0"),
            "t.json: steps[0]: \"ms\" is 0; must be a number in (0, 1e+06]");
  EXPECT_EQ(Error("\"decode\": 0.5", "\"decode\": 0"), "");
  EXPECT_EQ(Error("\"shared_ms\": 1.5", "\"shared_ms\": 0"), "");
}

}  // namespace
}  // namespace anyprec
