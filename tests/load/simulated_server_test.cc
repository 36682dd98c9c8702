#include "tests/load/simulated_server.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/scheduler/precision_policy.h"
#include "runtime/scheduler/step_cost_table.h"
#include "tests/load/arrivals.h"
#include "tests/load/summary.h"
#include "tests/load/workload.h"

namespace anyprec::load {
namespace {

// A decode step takes its bits in ms, 16 rows twice that; 128 prompt rows 64.
constexpr char kTable[] = R"({
  "name": "test", "kv_tokens": 16000, "shared_ms": 0,
  "context_us": {"decode": 0, "prefill": 0},
  "steps": [
    {"phase": "decode", "bits": 3, "rows": 1, "ms": 3},
    {"phase": "decode", "bits": 3, "rows": 16, "ms": 6},
    {"phase": "decode", "bits": 8, "rows": 1, "ms": 8},
    {"phase": "decode", "bits": 8, "rows": 16, "ms": 16},
    {"phase": "prefill", "bits": 8, "rows": 16, "ms": 8},
    {"phase": "prefill", "bits": 8, "rows": 128, "ms": 64}]})";

// REQUIRES: the policy is one for the table.
std::vector<RequestRecord> Replay(const SimulationOptions& options,
                                  const RequestClass& one,
                                  std::span<const PlannedRequest> plan) {
  return (*NewSimulatedServer(options, {one}))->Replay(plan);
}

SimulationOptions Options(const char* policy) {
  SimulationOptions options;
  options.table = *ParseStepCostTable(kTable, "table");
  options.policy = *ParsePrecisionPolicy(policy);
  return options;
}

RequestClass Class() {
  RequestClass one;
  one.min_bits = 3;
  one.ttft_ms = 1000;
  one.tpot_ms = 30;
  return one;
}

std::vector<RequestRecord> Simulate(const char* policy, double rate,
                                    const RequestClass& one = Class()) {
  ArrivalOptions arrivals;
  arrivals.rate_per_s = rate;
  arrivals.duration = absl::Seconds(60);
  arrivals.seed = 7;
  RequestPlanner planner(
      {one}, {.prompt_tokens = {32, 128}, .output_tokens = {10, 60}}, 7);
  const std::vector<PlannedRequest> plan =
      PlanWorkload(*PlanArrivals(arrivals), planner);
  std::vector<RequestRecord> records = Replay(Options(policy), one, plan);
  EXPECT_EQ(records.size(), plan.size());
  return records;
}

Summary Of(const std::vector<RequestRecord>& records) {
  return Summarize(records, {Class()},
                   {.warm_up = absl::Seconds(5), .end = absl::Seconds(60)});
}

double Goodput(const Summary& summary) {
  return static_cast<double>(summary.total.all.met) /
         static_cast<double>(summary.total.all.judged);
}

TEST(SimulatedServerTest, AFixedPrecisionIsOneOfTheTables) {
  for (const char* policy : {"fixed:3", "fixed:8"}) {
    EXPECT_TRUE(NewSimulatedServer(Options(policy), {Class()}).ok()) << policy;
  }
  EXPECT_EQ(
      NewSimulatedServer(Options("fixed:2"), {Class()}).status().message(),
      "policy: fixed:2, test has 3 to 8 bits");
  SimulationOptions lower = Options("fixed:8");
  lower.table.max_bits = 7;
  EXPECT_EQ(NewSimulatedServer(lower, {Class()}).status().message(),
            "policy: fixed:8, test has 3 to 7 bits");
}

TEST(SimulatedServerTest, ALoneRequestTakesWhatTheTableSays) {
  RequestClass one;
  one.fixed_bits = 8;
  PlannedRequest planned;
  planned.prompt_tokens = 128;
  planned.output_tokens = 3;
  const auto records = Replay(Options("slo"), one, {&planned, 1});
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].outcome, Outcome::kOk);
  ASSERT_EQ(records[0].tokens.size(), 3u);
  // A millisecond each way.
  EXPECT_EQ(records[0].tokens[0].since_planned_us, 66000u);
  EXPECT_EQ(records[0].tokens[2].since_planned_us, 82000u);
  EXPECT_EQ(records[0].tokens[2].bits, 8);
  EXPECT_EQ(records[0].prompt_bits.tokens, 128);
  EXPECT_EQ(records[0].prompt_bits.lowest, 8);
}

TEST(SimulatedServerTest, PromptsAreLoweredForTheirFirstTokens) {
  SimulationOptions options = Options("slo");
  for (int bits = 3; bits <= 8; ++bits) {
    options.table.costs.Measure({Phase::kPrefill, bits, 128},
                                absl::Milliseconds(8 * bits));
  }
  RequestClass one = Class();
  one.ttft_ms = 50;
  PlannedRequest planned;
  planned.prompt_tokens = 128;
  planned.output_tokens = 10;
  const RequestRecord record = Replay(options, one, {&planned, 1}).at(0);
  EXPECT_EQ(record.prompt_bits.tokens, 128);
  EXPECT_LT(record.prompt_bits.Mean(), 6);
  EXPECT_GE(record.prompt_bits.lowest, 3);
  EXPECT_EQ(record.tokens.back().bits, 8);
}

TEST(SimulatedServerTest, TheSameRunGivesTheSameRecords) {
  const auto first = Simulate("slo", 6);
  const auto second = Simulate("slo", 6);
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) {
    ASSERT_EQ(first[i].outcome, second[i].outcome);
    ASSERT_EQ(first[i].finished_at, second[i].finished_at);
  }
}

TEST(SimulatedServerTest, LosesNothingAndKeepsFloorsUnderOverload) {
  for (const char* policy : {"slo", "fixed:8", "load-ladder:8"}) {
    const Summary summary = Of(Simulate(policy, 60));
    EXPECT_EQ(summary.lost, 0) << policy;
    EXPECT_EQ(summary.tokens_below_floor, 0) << policy;
    EXPECT_EQ(summary.prompts_below_floor, 0) << policy;
    EXPECT_EQ(summary.tokens_without_bits, 0) << policy;
    EXPECT_GT(summary.refusal_latency_ms.count, 0) << policy;
    EXPECT_EQ(summary.refusals_without_retry_info, 0) << policy;
  }
}

int64_t Count(std::span<const RequestRecord> records, Outcome outcome) {
  return std::count_if(records.begin(), records.end(),
                       [outcome](const RequestRecord& record) {
                         return record.outcome == outcome;
                       });
}

TEST(SimulatedServerTest, CancelsEndRequests) {
  RequestClass one = Class();
  one.cancel_rate = 0.5;
  one.cancel_after_ms_high = 300;
  EXPECT_GT(Count(Simulate("slo", 5, one), Outcome::kCancelled), 20);
}

TEST(SimulatedServerTest, DeadlinesEndRequests) {
  RequestClass one = Class();
  one.ttft_ms = one.tpot_ms = std::nullopt;
  // Admission predicts an answer with those that run; later ones slow it down.
  one.deadline_ms = 400;
  const auto records = Simulate("fixed:8", 6, one);
  EXPECT_GT(Count(records, Outcome::kDeadline), 10);
  EXPECT_GT(Count(records, Outcome::kOk), 10);
  for (const RequestRecord& record : records) {
    if (record.outcome != Outcome::kDeadline) continue;
    // Within a step of it.
    EXPECT_GE(record.finished_at - record.sent_at, absl::Milliseconds(400));
    EXPECT_LT(record.finished_at - record.sent_at,
              absl::Milliseconds(400 + 100));
  }
}

TEST(SimulatedServerTest, ByDeadlinesPrecisionIsHighWhereThereIsTime) {
  const Summary slo = Of(Simulate("slo", 1));
  EXPECT_EQ(Goodput(slo), 1);
  EXPECT_GE(MeanBits(slo.total.tokens_by_bits), 7.6);
}

TEST(SimulatedServerTest, ByDeadlinesMoreIsKeptThanAtTheParentsPrecision) {
  const Summary slo = Of(Simulate("slo", 11));
  const Summary fixed = Of(Simulate("fixed:8", 11));
  EXPECT_GT(Goodput(slo), Goodput(fixed));
}

}  // namespace
}  // namespace anyprec::load
