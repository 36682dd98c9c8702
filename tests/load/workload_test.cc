#include "tests/load/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "tests/load/arrivals.h"
#include "tests/load/prompt.h"

namespace anyprec::load {
namespace {

RequestClass Class(const char* name, double share, double cancel_rate) {
  RequestClass one;
  one.name = name;
  one.share = share;
  one.cancel_rate = cancel_rate;
  one.cancel_after_ms_low = 10;
  one.cancel_after_ms_high = 20;
  return one;
}

std::vector<RequestClass> Mix() {
  return {Class("a", 3, 0), Class("b", 1, 0.5)};
}

LengthSource Ranges() {
  LengthSource source;
  source.prompt_tokens = {16, 64};
  source.output_tokens = {1, 8};
  return source;
}

std::vector<absl::Duration> Times(int count, double gap_s) {
  std::vector<absl::Duration> times;
  for (int i = 0; i < count; ++i) times.push_back(absl::Seconds(i * gap_s));
  return times;
}

std::vector<PlannedRequest> Plan(uint64_t seed, double gap_s = 1) {
  RequestPlanner planner(Mix(), Ranges(), seed);
  return PlanWorkload(Times(4000, gap_s), planner);
}

auto Fields(const PlannedRequest& request) {
  return std::tuple(request.prompt_tokens, request.output_tokens,
                    request.class_index, request.cancel_after, request.seed);
}

TEST(WorkloadTest, TheSeedDeterminesThePlan) {
  const auto first = Plan(5);
  const auto again = Plan(5);
  const auto other = Plan(6);
  int differing = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(Fields(first[i]), Fields(again[i]));
    EXPECT_EQ(first[i].at, again[i].at);
    differing += Fields(first[i]) != Fields(other[i]) ? 1 : 0;
  }
  EXPECT_GT(differing, 3000);
}

TEST(WorkloadTest, AnotherRateSendsTheSameRequests) {
  const auto slow = Plan(5, 1);
  const auto quick = Plan(5, 0.1);
  for (size_t i = 0; i < slow.size(); ++i) {
    EXPECT_EQ(Fields(slow[i]), Fields(quick[i]));
  }
}

TEST(WorkloadTest, LengthsLieInTheirRanges) {
  for (const PlannedRequest& request : Plan(5)) {
    EXPECT_GE(request.prompt_tokens, 16);
    EXPECT_LE(request.prompt_tokens, 64);
    EXPECT_GE(request.output_tokens, 1);
    EXPECT_LE(request.output_tokens, 8);
  }
}

// 4000 draws: five standard deviations are 0.034 for the share, 0.079 for the
// cancel rate among a thousand.
TEST(WorkloadTest, SharesAndCancelRatesAreKept) {
  double of_b = 0;
  double cancelled = 0;
  for (const PlannedRequest& request : Plan(5)) {
    of_b += request.class_index;
    if (!request.cancel_after.has_value()) continue;
    ++cancelled;
    EXPECT_EQ(request.class_index, 1);
    EXPECT_GE(*request.cancel_after, absl::Milliseconds(10));
    EXPECT_LE(*request.cancel_after, absl::Milliseconds(20));
  }
  EXPECT_NEAR(of_b / 4000, 0.25, 0.034);
  EXPECT_NEAR(cancelled / of_b, 0.5, 0.079);
}

TEST(WorkloadTest, LengthsOfATraceStayTogether) {
  LengthSource source;
  for (int i = 1; i <= 5; ++i) {
    source.entries.push_back({.prompt_tokens = i, .output_tokens = 10 * i});
  }
  RequestPlanner planner({RequestClass()}, source, 1);
  for (const PlannedRequest& request : PlanWorkload(Times(100, 1), planner)) {
    EXPECT_EQ(request.output_tokens, 10 * request.prompt_tokens);
  }
}

TEST(WorkloadTest, AReplayTakesTimesAndLengthsInOrder) {
  std::vector<TraceEntry> entries;
  for (int i = 0; i < 5; ++i) {
    entries.push_back({.at = absl::Seconds(i),
                       .prompt_tokens = 100 * (i + 1),
                       .output_tokens = i + 1});
  }
  LengthSource source;
  source.caps.prompt_tokens = 250;
  RequestPlanner planner({RequestClass()}, source, 1);
  const auto plan = PlanReplay(entries, absl::Seconds(4), planner);
  ASSERT_EQ(plan.size(), 4u);
  EXPECT_EQ(plan[1].at, absl::Seconds(1));
  EXPECT_EQ(plan[1].prompt_tokens, 200);
  EXPECT_EQ(plan[3].prompt_tokens, 250);
  EXPECT_EQ(planner.capped(), 2);
}

TEST(WorkloadTest, RangesAreReadStrictly) {
  EXPECT_EQ(ParseIntRange("r", "7")->high, 7);
  EXPECT_EQ(ParseIntRange("r", "7-9")->low, 7);
  EXPECT_EQ(ParseIntRange("r", "7-9")->high, 9);
  for (const char* text : {"", "0", "-3", "9-7", "1-", "x", "1-2-3"}) {
    EXPECT_FALSE(ParseIntRange("r", text).ok()) << text;
  }
}

TEST(PromptTest, PromptsHaveTheirLengthAndOrdinaryIds) {
  for (const PlannedRequest& request : Plan(5)) {
    const auto ids = PromptTokens(request, 1000, 5);
    EXPECT_EQ(ids.size(), static_cast<size_t>(request.prompt_tokens));
    EXPECT_GE(*std::min_element(ids.begin(), ids.end()), 250);
    EXPECT_LT(*std::max_element(ids.begin(), ids.end()), 750);
  }
  PlannedRequest tiny;
  EXPECT_EQ(PromptTokens(tiny, 1, 5), std::vector<int32_t>{0});
}

TEST(PromptTest, EqualHashIdsGiveEqualBlocks) {
  PlannedRequest a;
  a.prompt_tokens = 25;
  a.seed = 1;
  a.hash_block_tokens = 10;
  a.hash_ids = {7, 8};
  PlannedRequest b = a;
  b.seed = 2;
  const auto first = PromptTokens(a, 1000, 5);
  const auto second = PromptTokens(b, 1000, 5);
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 20, second.begin()));
  EXPECT_NE(first, second);
  b.hash_ids = {7, 9};
  const auto third = PromptTokens(b, 1000, 5);
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 10, third.begin()));
  EXPECT_FALSE(std::equal(first.begin(), first.begin() + 20, third.begin()));
  const auto other_run = PromptTokens(a, 1000, 6);
  EXPECT_FALSE(
      std::equal(first.begin(), first.begin() + 10, other_run.begin()));
  EXPECT_FALSE(
      std::equal(first.begin() + 20, first.end(), other_run.begin() + 20));
}

}  // namespace
}  // namespace anyprec::load
