#include "tests/load/summary.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/load/record_helpers.h"

namespace anyprec::load {
namespace {

const MeasuredTime kTenSeconds = {.warm_up = {}, .end = absl::Seconds(10)};

std::vector<RequestClass> OneClass(double ttft_ms) {
  RequestClass one;
  one.ttft_ms = ttft_ms;
  return {one};
}

TEST(DistributionTest, PercentilesInterpolateBetweenRanks) {
  std::vector<double> samples(101);
  std::iota(samples.begin(), samples.end(), 0);
  EXPECT_DOUBLE_EQ(Percentile(samples, 0), 0);
  EXPECT_DOUBLE_EQ(Percentile(samples, 99), 99);
  EXPECT_DOUBLE_EQ(Percentile(samples, 100), 100);
  EXPECT_DOUBLE_EQ(Percentile(std::vector<double>{1, 2}, 50), 1.5);
  EXPECT_DOUBLE_EQ(Percentile(std::vector<double>{7}, 99), 7);
}

TEST(DistributionTest, SamplesNeedNotBeSorted) {
  const Distribution distribution = Describe({3, 1, 2});
  EXPECT_EQ(distribution.count, 3);
  EXPECT_DOUBLE_EQ(distribution.mean, 2);
  EXPECT_DOUBLE_EQ(distribution.p50, 2);
  EXPECT_DOUBLE_EQ(distribution.max, 3);
  EXPECT_EQ(Describe({}).count, 0);
}

TEST(SummaryTest, GoodputCountsRefusalsAsMissesAndLeavesCancelledOut) {
  const std::vector<RequestRecord> records = {
      Answered(1, {50, 60}), Answered(2, {150, 160}),
      Ended(3, Outcome::kRefused, 2), Ended(4, Outcome::kCancelled, 5),
      Answered(5, {80})};
  const Summary summary = Summarize(records, OneClass(100), kTenSeconds);
  EXPECT_EQ(summary.total.planned, 5);
  EXPECT_EQ(summary.total.all.judged, 4);
  EXPECT_EQ(summary.total.all.met, 2);
  EXPECT_DOUBLE_EQ(summary.goodput_rps, 0.2);
  EXPECT_DOUBLE_EQ(summary.offered_rps, 0.5);
  EXPECT_EQ(summary.total.outcomes.at(Outcome::kOk), 3);
  EXPECT_EQ(summary.reasons.at("refused:REASON"), 1);
  EXPECT_EQ(summary.reasons.size(), 1u);
}

TEST(SummaryTest, WarmUpAndWhatComesAfterTheEndAreNotMeasured) {
  const std::vector<RequestRecord> records = {
      Answered(1, {50, 60}), Answered(5, {50, 60}), Answered(11, {50, 60})};
  const Summary summary =
      Summarize(records, OneClass(100),
                {.warm_up = absl::Seconds(2), .end = absl::Seconds(10)});
  EXPECT_EQ(summary.total.planned, 1);
  EXPECT_DOUBLE_EQ(summary.measured_s, 8);
  EXPECT_DOUBLE_EQ(summary.completed_rps, 1.0 / 8);
}

TEST(SummaryTest, ThroughputCountsWhatHappenedWithinTheTime) {
  // Planned within, but the second token and the end come too late.
  const std::vector<RequestRecord> records = {Answered(9.5, {100, 900})};
  const Summary summary = Summarize(records, OneClass(1000), kTenSeconds);
  EXPECT_DOUBLE_EQ(summary.output_tokens_per_s, 0.1);
  EXPECT_DOUBLE_EQ(summary.prompt_tokens_per_s, 1);
  EXPECT_DOUBLE_EQ(summary.completed_rps, 0);
  EXPECT_DOUBLE_EQ(summary.goodput_rps, 0.1);
}

TEST(SummaryTest, TokensBelowTheFloorAreCountedInWarmUpToo) {
  RequestRecord below = Answered(0, {1, 2, 3}, 4);
  below.floor_bits = 4;
  below.tokens[1].bits = 3;
  RequestRecord low_prompt = Answered(0, {1}, 4);
  low_prompt.floor_bits = 4;
  low_prompt.prompt_bits.Add(3, 1);
  RequestRecord unfloored = Answered(0, {1, 2}, 1);
  const Summary summary =
      Summarize(std::vector{below, low_prompt, unfloored}, OneClass(100),
                {.warm_up = absl::Seconds(1), .end = absl::Seconds(2)});
  EXPECT_EQ(summary.tokens_below_floor, 1);
  EXPECT_EQ(summary.answers_below_floor, 1);
  EXPECT_EQ(summary.prompts_below_floor, 1);
}

TEST(SummaryTest, AnswersMustReportTheirBits) {
  RequestRecord without = Answered(0, {1, 2}, 4);
  without.tokens[0].bits = 0;
  without.floor_bits = 4;
  RequestRecord unconfirmed = Answered(0, {1, 2}, 4);
  unconfirmed.bits_confirmed = false;
  const Summary summary =
      Summarize(std::vector{without, unconfirmed, Answered(0, {1})},
                OneClass(100), kTenSeconds);
  EXPECT_EQ(summary.tokens_without_bits, 1);
  EXPECT_EQ(summary.answers_without_bits, 2);
  EXPECT_EQ(summary.tokens_below_floor, 0);
}

TEST(SummaryTest, MeanBitsAreWeightedByTokens) {
  std::vector<RequestRecord> records = {Answered(0, {1, 2, 3}, 4),
                                        Answered(0, {1}, 8)};
  records[1].prompt_bits.Add(3, 20);
  const Summary summary = Summarize(records, OneClass(100), kTenSeconds);
  EXPECT_DOUBLE_EQ(MeanBits(summary.total.tokens_by_bits), 5);
  EXPECT_EQ(summary.total.tokens_by_bits[4], 3);
  EXPECT_EQ(summary.total.prompt_bits.lowest, 3);
  EXPECT_DOUBLE_EQ(summary.total.prompt_bits.Mean(), 4.5);
  EXPECT_DOUBLE_EQ(PromptBits{}.Mean(), 0);
  EXPECT_DOUBLE_EQ(MeanBits(BitsCounts{}), 0);
}

TEST(SummaryTest, RefusalsAreTimedFromTheirSending) {
  RequestRecord with = Ended(0, Outcome::kRefused, 12);
  with.sent_at = absl::Milliseconds(10);
  with.retry_delay = absl::Seconds(1);
  const RequestRecord without = Ended(0, Outcome::kRefused, 2);
  const Summary summary =
      Summarize(std::vector{with, without}, OneClass(100), kTenSeconds);
  EXPECT_DOUBLE_EQ(summary.refusal_latency_ms.max, 2);
  EXPECT_EQ(summary.refusals_without_retry_info, 1);
  EXPECT_DOUBLE_EQ(summary.retry_after_ms.mean, 1000);
  EXPECT_DOUBLE_EQ(summary.client_queue_ms.max, 10);
}

TEST(SummaryTest, ItlIsBetweenMessagesAndLatenciesAreOfAnswersAlone) {
  RequestRecord failed = Answered(0, {1, 2}, 4);
  failed.outcome = Outcome::kError;
  const Summary summary =
      Summarize(std::vector{Answered(0, {10, 10, 30}), failed}, OneClass(100),
                kTenSeconds);
  EXPECT_EQ(summary.total.itl_ms.count, 1);
  EXPECT_DOUBLE_EQ(summary.total.itl_ms.mean, 20);
  EXPECT_EQ(summary.total.ttft_ms.count, 1);
}

TEST(SummaryTest, ClassesAreSummarizedApart) {
  std::vector<RequestClass> classes = OneClass(100);
  classes.push_back(RequestClass());
  RequestRecord second = Answered(0, {500, 600}, 8);
  second.class_index = 1;
  const Summary summary = Summarize(
      std::vector{Answered(0, {500, 600}), second}, classes, kTenSeconds);
  EXPECT_EQ(summary.classes[0].all.met, 0);
  EXPECT_EQ(summary.classes[1].all.met, 1);
  EXPECT_EQ(summary.total.all.judged, 2);
  EXPECT_EQ(summary.total.ttft.judged, 1);
}

TEST(SummaryTest, LostRequestsAreCountedWhereverTheyAre) {
  const Summary summary = Summarize(
      std::vector{Ended(0, Outcome::kLost, 60000),
                  Ended(5, Outcome::kLost, 60000)},
      OneClass(100), {.warm_up = absl::Seconds(1), .end = absl::Seconds(10)});
  EXPECT_EQ(summary.lost, 2);
  EXPECT_EQ(summary.total.outcomes.at(Outcome::kLost), 1);
}

}  // namespace
}  // namespace anyprec::load
