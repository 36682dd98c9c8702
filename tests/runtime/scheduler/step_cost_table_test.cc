#include "runtime/scheduler/step_cost_table.h"

#include <string>

#include "absl/strings/match.h"
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

TEST(StepCostTableTest, SaysWhatIsWrong) {
  const auto error = [](const std::string& from, const std::string& to) {
    std::string table = kTable;
    table.replace(table.find(from), from.size(), to);
    return std::string(ParseStepCostTable(table, "t.json").status().message());
  };
  EXPECT_TRUE(
      absl::StrContains(error("\"kv_tokens\": 16000", "\"kv_tokens\": 0"),
                        "t.json: \"kv_tokens\" must be a number"));
  EXPECT_TRUE(absl::StrContains(error("\"bits\": 8", "\"bits\": 2.5"),
                                "steps[1]: \"bits\" must be an integer"));
  EXPECT_TRUE(
      absl::StrContains(error("\"prefill\", \"bits\"", "\"x\", \"bits\""),
                        "steps[2]: phase is \"x\""));
  EXPECT_TRUE(absl::StrContains(error("\"prefill\", ", "\"decode\", "),
                                "one of each phase"));
  EXPECT_TRUE(absl::StrContains(error("\"steps\"", "\"stips\""), "\"steps\""));
}

}  // namespace
}  // namespace anyprec
