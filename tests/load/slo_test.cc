#include "tests/load/slo.h"

#include <gtest/gtest.h>

#include "tests/load/record_helpers.h"

namespace anyprec::load {
namespace {

RequestClass Slo(std::optional<double> ttft, std::optional<double> tpot,
                 std::optional<double> deadline = std::nullopt) {
  RequestClass one;
  one.ttft_ms = ttft;
  one.tpot_ms = tpot;
  one.deadline_ms = deadline;
  return one;
}

TEST(SloTest, TpotIsTheMeanAfterTheFirstToken) {
  const RequestRecord record = Answered(0, {100, 110, 160});
  EXPECT_DOUBLE_EQ(*TtftMs(record), 100);
  EXPECT_DOUBLE_EQ(*TpotMs(record), 30);
  EXPECT_DOUBLE_EQ(*E2eMs(record), 160);
}

TEST(SloTest, AllSlosMustBeMet) {
  const RequestRecord record = Answered(0, {100, 130});
  EXPECT_EQ(Judge(record, Slo(100, 30, 130)).verdict, Verdict::kMet);
  EXPECT_EQ(Judge(record, Slo(99, 30, 130)).verdict, Verdict::kMissed);
  EXPECT_EQ(Judge(record, Slo(100, 29, 130)).verdict, Verdict::kMissed);
  EXPECT_EQ(Judge(record, Slo(100, 30, 129)).verdict, Verdict::kMissed);
  const SloResult result = Judge(record, Slo(100, 29));
  EXPECT_EQ(result.ttft, true);
  EXPECT_EQ(result.tpot, false);
  EXPECT_FALSE(result.deadline.has_value());
}

TEST(SloTest, LateSendingCountsAgainstTheServersUsers) {
  RequestRecord record = Answered(0, {100, 130});
  record.sent_at = absl::Milliseconds(90);
  EXPECT_EQ(Judge(record, Slo(50, 100)).verdict, Verdict::kMissed);
}

TEST(SloTest, AOneTokenAnswerNeitherPassesNorFailsTpot) {
  const RequestRecord record = Answered(0, {100});
  const SloResult with_ttft = Judge(record, Slo(100, 1));
  EXPECT_EQ(with_ttft.verdict, Verdict::kMet);
  EXPECT_FALSE(with_ttft.tpot.has_value());
  EXPECT_EQ(Judge(record, Slo(99, 1)).verdict, Verdict::kMissed);
  EXPECT_EQ(Judge(record, Slo(std::nullopt, 1)).verdict, Verdict::kNotJudged);
}

TEST(SloTest, AOneTokenAnswerToALongerRequestIsAMiss) {
  RequestRecord record = Answered(0, {100});
  record.planned_output_tokens = 2;
  EXPECT_TRUE(IsShort(record));
  EXPECT_EQ(Judge(record, Slo(100, 1)).verdict, Verdict::kMissed);
  EXPECT_EQ(Judge(record, Slo(std::nullopt, std::nullopt)).verdict,
            Verdict::kMissed);
}

TEST(SloTest, WhateverIsNotAnsweredMissesAllItsSlos) {
  for (const Outcome outcome : {Outcome::kLost, Outcome::kRefused,
                                Outcome::kDeadline, Outcome::kError}) {
    const SloResult result = Judge(Ended(0, outcome, 1), Slo(1e9, 1e9));
    EXPECT_EQ(result.verdict, Verdict::kMissed);
    EXPECT_EQ(result.ttft, false);
    EXPECT_EQ(result.tpot, false);
    EXPECT_FALSE(result.deadline.has_value());
  }
}

TEST(SloTest, AnAnswerToAPromptBelowItsFloorIsAMissToo) {
  RequestRecord record = Answered(0, {100, 101}, /*bits=*/4);
  record.floor_bits = 4;
  EXPECT_FALSE(PromptBelowFloor(record));
  record.prompt_bits.Add(3, 1);
  EXPECT_TRUE(PromptBelowFloor(record));
  EXPECT_EQ(Judge(record, Slo(100, 1)).verdict, Verdict::kMissed);
  // Nothing is known of it.
  record.prompt_bits = {};
  EXPECT_FALSE(PromptBelowFloor(record));
}

TEST(SloTest, AnAnswerBelowItsFloorIsAMissWhoseSlosWereKept) {
  RequestRecord record = Answered(0, {100, 101}, /*bits=*/4);
  record.floor_bits = 4;
  EXPECT_EQ(Judge(record, Slo(100, 1)).verdict, Verdict::kMet);
  record.tokens[1].bits = 3;
  EXPECT_EQ(TokensBelowFloor(record), 1);
  const SloResult result = Judge(record, Slo(100, 1));
  EXPECT_EQ(result.verdict, Verdict::kMissed);
  EXPECT_EQ(result.ttft, true);
  EXPECT_EQ(result.tpot, true);
  EXPECT_EQ(Judge(record, Slo(std::nullopt, std::nullopt)).verdict,
            Verdict::kMissed);
}

TEST(SloTest, CancelledRequestsAreNotJudged) {
  EXPECT_EQ(Judge(Ended(0, Outcome::kCancelled, 1), Slo(1, 1)).verdict,
            Verdict::kNotJudged);
}

TEST(SloTest, WithoutSlosAFullAnswerIsEnough) {
  EXPECT_EQ(Judge(Answered(0, {1e6}), Slo(std::nullopt, std::nullopt)).verdict,
            Verdict::kMet);
}

}  // namespace
}  // namespace anyprec::load
