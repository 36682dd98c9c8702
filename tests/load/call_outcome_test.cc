#include "tests/load/call_outcome.h"

#include <gtest/gtest.h>

#include "server/status_conversion.h"
#include "tests/load/generate_request.h"

namespace anyprec::load {
namespace {

v1::GenerateResponse Message(int tokens, int bits) {
  v1::GenerateResponse message;
  for (int i = 0; i < tokens; ++i) message.add_tokens()->set_bits(bits);
  return message;
}

void Set(int bits, int64_t tokens, v1::BitsCount* count) {
  count->set_bits(bits);
  count->set_tokens(tokens);
}

void AddHistogram(int bits, int64_t tokens, v1::GenerateResponse& message) {
  Set(bits, tokens, message.mutable_finish()->add_tokens_by_bits());
}

Outcome OutcomeOf(grpc::StatusCode code, OwnCancel own_cancel,
                  bool finish_seen = true) {
  RequestRecord record;
  SetOutcome(grpc::Status(code, "why"), own_cancel, finish_seen, record);
  return record.outcome;
}

TEST(CallOutcomeTest, TokensKeepTheirTimeAndBits) {
  RequestRecord record;
  record.planned_at = absl::Seconds(1);
  AddMessage(Message(2, 5), absl::Seconds(1.5), record);
  AddMessage(Message(1, 0), absl::Seconds(2), record);
  ASSERT_EQ(record.tokens.size(), 3u);
  EXPECT_EQ(record.tokens[1].since_planned_us, 500'000u);
  EXPECT_EQ(record.tokens[1].bits, 5);
  EXPECT_EQ(record.tokens[2].bits, 0);
  EXPECT_EQ(record.TokenTime(2), absl::Seconds(2));
}

TEST(CallOutcomeTest, TheClosingHistogramMustAgreeWithTheTokens) {
  RequestRecord record;
  AddMessage(Message(2, 5), absl::Seconds(1), record);
  v1::GenerateResponse last = Message(1, 8);
  AddHistogram(5, 2, last);
  RequestRecord disagrees = record;
  AddMessage(last, absl::Seconds(1), disagrees);
  EXPECT_FALSE(disagrees.bits_confirmed);
  AddHistogram(8, 1, last);
  AddMessage(last, absl::Seconds(1), record);
  EXPECT_TRUE(record.bits_confirmed);
}

TEST(CallOutcomeTest, ThePromptsHistogramMustCountAllOfIt) {
  v1::GenerateResponse last = Message(1, 8);
  AddHistogram(8, 1, last);
  Set(3, 6, last.mutable_finish()->add_prompt_tokens_by_bits());
  RequestRecord lacks;
  lacks.prompt_tokens = 8;
  AddMessage(last, absl::Seconds(1), lacks);
  EXPECT_FALSE(lacks.bits_confirmed);
  EXPECT_EQ(lacks.prompt_bits.tokens, 6);
  Set(8, 2, last.mutable_finish()->add_prompt_tokens_by_bits());
  RequestRecord whole;
  whole.prompt_tokens = 8;
  AddMessage(last, absl::Seconds(1), whole);
  EXPECT_TRUE(whole.bits_confirmed);
  EXPECT_EQ(whole.prompt_bits.lowest, 3);
  EXPECT_DOUBLE_EQ(whole.prompt_bits.Mean(), 4.25);
}

TEST(CallOutcomeTest, RefusalsKeepReasonAndRetryInfo) {
  absl::Status status = absl::ResourceExhaustedError("full");
  AttachRetry(absl::Milliseconds(1500), "QUEUE_FULL", status);
  RequestRecord record;
  SetOutcome(ToGrpcStatus(status), OwnCancel::kNone, false, record);
  EXPECT_EQ(record.outcome, Outcome::kRefused);
  EXPECT_EQ(record.reason, "QUEUE_FULL");
  EXPECT_EQ(record.message, "full");
  EXPECT_EQ(record.retry_delay, absl::Milliseconds(1500));
}

TEST(CallOutcomeTest, ARefusalWithoutRetryInfoIsSeen) {
  RequestRecord record;
  SetOutcome(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full"),
             OwnCancel::kNone, false, record);
  EXPECT_EQ(record.outcome, Outcome::kRefused);
  EXPECT_EQ(record.reason, "RESOURCE_EXHAUSTED");
  EXPECT_FALSE(record.retry_delay.has_value());
}

TEST(CallOutcomeTest, ExhaustionAfterTheFirstTokenIsAnError) {
  RequestRecord record;
  AddMessage(Message(1, 4), absl::Seconds(1), record);
  SetOutcome(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full"),
             OwnCancel::kNone, false, record);
  EXPECT_EQ(record.outcome, Outcome::kError);
}

TEST(CallOutcomeTest, CancelledIsOursOnlyIfWeCancelled) {
  using grpc::StatusCode;
  EXPECT_EQ(OutcomeOf(StatusCode::CANCELLED, OwnCancel::kPlanned),
            Outcome::kCancelled);
  EXPECT_EQ(OutcomeOf(StatusCode::CANCELLED, OwnCancel::kGaveUp),
            Outcome::kLost);
  EXPECT_EQ(OutcomeOf(StatusCode::CANCELLED, OwnCancel::kNone),
            Outcome::kError);
  // It had ended before the cancellation came.
  EXPECT_EQ(OutcomeOf(StatusCode::OK, OwnCancel::kPlanned), Outcome::kOk);
}

TEST(CallOutcomeTest, OtherCodesAndMissingEndsAreErrors) {
  using grpc::StatusCode;
  EXPECT_EQ(OutcomeOf(StatusCode::OK, OwnCancel::kNone, false),
            Outcome::kError);
  EXPECT_EQ(OutcomeOf(StatusCode::UNAVAILABLE, OwnCancel::kNone),
            Outcome::kError);
  EXPECT_EQ(OutcomeOf(StatusCode::DEADLINE_EXCEEDED, OwnCancel::kNone),
            Outcome::kDeadline);
}

TEST(GenerateRequestTest, APlanBecomesAMessage) {
  PlannedRequest planned;
  planned.prompt_tokens = 5;
  planned.output_tokens = 7;
  RequestClass one;
  one.min_bits = 3;
  one.max_bits = 6;
  one.ttft_ms = 100;
  one.priority = 2;
  const v1::GenerateRequest request = MakeGenerateRequest(planned, one, 100, 0);
  EXPECT_EQ(request.token_ids().ids_size(), 5);
  EXPECT_EQ(request.stopping().max_tokens(), 7);
  EXPECT_TRUE(request.stopping().ignore_eos());
  EXPECT_EQ(request.precision().min_bits(), 3);
  EXPECT_EQ(request.precision().max_bits(), 6);
  EXPECT_EQ(request.precision().slo().ttft_ms(), 100);
  EXPECT_FALSE(request.precision().slo().has_tpot_ms());
  EXPECT_EQ(request.precision().priority(), 2);
}

TEST(GenerateRequestTest, FixedBitsReplaceTheRangeOnTheWire) {
  RequestClass one;
  one.min_bits = 5;
  one.fixed_bits = 4;
  const v1::GenerateRequest request =
      MakeGenerateRequest(PlannedRequest(), one, 100, 0);
  EXPECT_EQ(request.precision().fixed_bits(), 4);
  EXPECT_FALSE(request.precision().has_min_bits());
}

}  // namespace
}  // namespace anyprec::load
