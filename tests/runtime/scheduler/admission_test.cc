#include "runtime/scheduler/admission.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);
const absl::Time kNow = absl::FromUnixSeconds(1000);

// A decode step takes its bits in ms, 16 rows twice that; 100 prompt rows 50.
StepCostModel Costs() {
  StepCostModel costs;
  for (int bits = 3; bits <= 8; ++bits) {
    costs.Measure({Phase::kDecode, bits, 1}, bits * kMs);
    costs.Measure({Phase::kDecode, bits, 16}, 2 * bits * kMs);
    costs.Measure({Phase::kPrefill, bits, 100}, 50 * kMs);
  }
  return costs;
}

QueueSnapshot Idle() {
  QueueSnapshot queue;
  queue.max_sequences = 4;
  queue.prefill_chunk_tokens = 100;
  return queue;
}

AdmissionQuery Query() {
  AdmissionQuery query;
  query.prompt_tokens = 100;
  query.min_tokens = 11;
  return query;
}

// `floor` is the lowest precision of the request.
absl::Status Check(const AdmissionQuery& query, const QueueSnapshot& queue,
                   int floor = 3) {
  return CheckAdmission(query, {floor, 8}, queue, Costs(), kNow,
                        10 * absl::Seconds(1));
}

std::optional<AdmissionForecast> Forecast(
    const AdmissionQuery& query, const QueueSnapshot& queue,
    const StepCostModel& costs = Costs()) {
  return ForecastAdmission(query, {3, 8}, queue, costs, kNow);
}

TEST(AdmissionTest, ForecastsAPromptAndItsAnswer) {
  const auto forecast = Forecast(Query(), Idle());
  ASSERT_TRUE(forecast.has_value());
  EXPECT_EQ(forecast->step, 3 * kMs);
  EXPECT_EQ(forecast->first_token, 53 * kMs);
  EXPECT_EQ(forecast->total, 83 * kMs);
}

TEST(AdmissionTest, CountsThePromptsThatGoFirst) {
  QueueSnapshot queue = Idle();
  queue.prompts = {{kNow + kMs, 3, 100, 0, true},
                   {kNow + absl::Hours(1), 3, 100, 0, true}};
  const auto forecast = Forecast(Query(), queue);
  // The first of them will decode by then.
  const absl::Duration step = Costs().Predict({Phase::kDecode, 3, 2});
  EXPECT_EQ(forecast->step, step);
  EXPECT_EQ(forecast->first_token, 2 * (50 * kMs + step));
  // What is more urgent goes before both.
  AdmissionQuery urgent = Query();
  urgent.priority = 1;
  EXPECT_EQ(Forecast(urgent, queue)->first_token, 53 * kMs);
}

TEST(AdmissionTest, UnderPressureItsOwnPromptCountsForMoreWhereOthersGoFirst) {
  QueueSnapshot queue = Idle();
  queue.pressure = 3;
  EXPECT_EQ(Forecast(Query(), queue)->first_token, 53 * kMs);
  queue.prompts = {{kNow + kMs, 3, 100, 0, true}};
  const auto forecast = Forecast(Query(), queue);
  EXPECT_EQ(forecast->price, 1.4);
  // 2.4 chunks, that is three steps.
  EXPECT_EQ(forecast->first_token, 2.4 * 50 * kMs + 3 * forecast->step);

  AdmissionQuery query = Query();
  query.slo.ttft = 130 * kMs;
  const absl::Status refused = Check(query, queue);
  EXPECT_TRUE(
      absl::StrContains(refused.message(), "its own prompt counts 1.40 times"))
      << refused;
  queue.pressure = 1;
  EXPECT_TRUE(Check(query, queue).ok());
}

TEST(AdmissionTest, CountsTheStepsUntilAPlaceIsFree) {
  QueueSnapshot queue = Idle();
  queue.max_sequences = 2;
  queue.tokens_left = {10, 40};
  queue.answers = {{{3, 8}}, {{3, 8}}};
  const absl::Duration step = Costs().Predict({Phase::kDecode, 3, 3});
  EXPECT_EQ(Forecast(Query(), queue)->first_token, 10 * step + 50 * kMs + step);
  queue.prompts = {{kNow, 3, 0, 0, true}};
  EXPECT_EQ(Forecast(Query(), queue)->first_token, 40 * step + 50 * kMs + step);
}

TEST(AdmissionTest, AnswersOfSeveralFloorsShareAPrecision) {
  const std::vector<RunningAnswer> answers = {
      {{3, 8}}, {{5, 8}}, {{4, 8}}, {{8, 8}}};
  const StepCostModel costs = Costs();
  const auto step = [&](int bits, int rows) {
    return costs.Predict({Phase::kDecode, bits, rows});
  };
  // Each at its floor they would take 3 + 4 + 5 ms.
  EXPECT_EQ(QuickestStep(std::span(answers).first(3), costs), step(5, 3));
  EXPECT_EQ(QuickestStep(std::span(answers).first(1), costs), step(3, 1));
  // Nothing keeps that one company below 8 bits.
  const std::vector<RowCount> apart = {{Phase::kDecode, 5, 3},
                                       {Phase::kDecode, 8, 1}};
  EXPECT_EQ(QuickestStep(answers, costs),
            std::min(step(8, 4), costs.Predict(apart)));
  // Fixed ones stay apart, and none cost nothing.
  const std::vector<RunningAnswer> fixed = {{{3, 3}}, {{8, 8}}};
  EXPECT_EQ(QuickestStep(fixed, costs), step(3, 1) + step(8, 1));
  EXPECT_EQ(QuickestStep({}, costs), absl::ZeroDuration());
}

TEST(AdmissionTest, PromptsAreJudgedByTheirQuickestPrecision) {
  StepCostModel costs = Costs();
  EXPECT_EQ(QuickestPromptBits({3, 8}, 100, costs), 3);  // of equals the lowest
  costs.Measure({Phase::kPrefill, 4, 100}, 40 * kMs);
  EXPECT_EQ(QuickestPromptBits({3, 8}, 100, costs), 4);
  EXPECT_EQ(QuickestPromptBits({5, 8}, 100, costs), 5);
  EXPECT_EQ(Forecast(Query(), Idle(), costs)->first_token, 43 * kMs);
}

TEST(AdmissionTest, SmallChunksForTheSakeOfAnswersTakeMoreSteps) {
  QueueSnapshot queue = Idle();
  queue.token_budget = 40 * kMs;  // 35 of them are left for 64 rows
  StepCostModel costs = Costs();
  costs.Measure({Phase::kPrefill, 3, 64}, 35 * kMs);
  EXPECT_EQ(Forecast(Query(), queue, costs)->first_token,
            100 * (35 * kMs / 64) + 2 * 3 * kMs);
}

TEST(AdmissionTest, TakesWhatCanBeKeptAtTheFloor) {
  AdmissionQuery query = Query();
  EXPECT_TRUE(Check(query, Idle()).ok());
  query.slo.ttft = 60 * kMs;
  query.slo.tpot = 4 * kMs;
  query.deadline = kNow + 100 * kMs;
  EXPECT_TRUE(Check(query, Idle()).ok());
}

void ExpectRefused(const AdmissionQuery& query, const QueueSnapshot& queue,
                   int bits, const std::string& what) {
  const absl::Status status = Check(query, queue, bits);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), what)) << status;
  const auto refusal = RefusalOf(status);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->reason, kPredictedLate);
  EXPECT_GT(refusal->retry_after, absl::ZeroDuration());
}

TEST(AdmissionTest, RefusesEachTargetThatTheFloorWouldMiss) {
  AdmissionQuery query = Query();
  query.slo.ttft = 52 * kMs;
  ExpectRefused(query, Idle(), 3,
                "precision.slo.ttft: 53 ms predicted with no other load and "
                "the quickest of 3 to 8 bits, 52 ms wanted");
  query = Query();
  query.slo.tpot = 3.9999 * kMs;
  ExpectRefused(query, Idle(), 4, "precision.slo.tpot: 4 ms predicted");
  query.slo.tpot = 1 * absl::Microseconds(1);
  ExpectRefused(query, Idle(), 4, ", 0.001 ms wanted");
  query = Query();
  query.deadline = kNow + 80 * kMs;
  ExpectRefused(query, Idle(), 3, "deadline: 83 ms");
}

TEST(AdmissionTest, ChunksThatDoNotFitBetweenTokensTakeTheirTime) {
  QueueSnapshot queue = Idle();
  queue.tokens_left = {100};
  queue.answers = {{{3, 8}}};
  queue.token_budget = 10 * kMs;  // a chunk takes 50
  const absl::Duration step = Costs().Predict({Phase::kDecode, 3, 2});
  const auto forecast = Forecast(Query(), queue);
  // 32 rows take what 100 do, which are all that is known.
  const absl::Duration prompt = 100 * (50 * kMs / 32);
  const double steps = absl::FDivDuration(prompt, 9.5 * kMs - step);
  EXPECT_LT(absl::AbsDuration(forecast->first_token - prompt - steps * step),
            absl::Microseconds(1))
      << forecast->first_token;
}

TEST(AdmissionTest, KeepsWhatOthersWerePromised) {
  AdmissionQuery urgent = Query();
  urgent.slo.ttft = 110 * kMs;
  // Goes after the new one, and would be in time without it.
  QueueSnapshot queue = Idle();
  PendingPrompt other;
  other.due = other.wanted = kNow + 150 * kMs;
  other.bits = 3;
  other.rows = 200;
  queue.prompts = {other};
  ExpectRefused(urgent, queue, 3, "taken before would be late by");
  // That is late anyway, has time, or asks for nothing.
  queue.prompts[0].wanted = kNow + 100 * kMs;
  EXPECT_TRUE(Check(urgent, queue).ok());
  queue.prompts[0].wanted = kNow + 170 * kMs;
  EXPECT_TRUE(Check(urgent, queue).ok());
  queue.prompts[0].wanted = absl::InfiniteFuture();
  EXPECT_TRUE(Check(urgent, queue).ok());
  // The more important may make the less important late.
  queue.prompts[0].wanted = other.wanted;
  urgent.priority = 1;
  EXPECT_TRUE(Check(urgent, queue).ok());
}

TEST(AdmissionTest, AnOpenAnswerNeedsTimeForOneTokenOnly) {
  AdmissionQuery query = Query();
  query.min_tokens = 0;
  query.deadline = kNow + 60 * kMs;
  EXPECT_TRUE(Check(query, Idle()).ok());
}

TEST(AdmissionTest, RefusesWorkBeyondTheQueuesTime) {
  QueueSnapshot queue = Idle();
  queue.prompts = {{kNow, 3, 20000, 0, true}};
  const absl::Status status = Check(Query(), queue);
  const auto refusal = RefusalOf(status);
  ASSERT_TRUE(refusal.has_value()) << status;
  EXPECT_EQ(refusal->reason, kQueueFull);
  // When that much of it will be done.
  EXPECT_GT(refusal->retry_after, 50 * kMs);
  EXPECT_LT(refusal->retry_after, absl::Seconds(1));
}

TEST(AdmissionTest, KnowsNothingBeforeAMeasurement) {
  AdmissionQuery query = Query();
  query.slo.ttft = kMs;
  EXPECT_TRUE(CheckAdmission(query, {3, 8}, Idle(), StepCostModel(), kNow,
                             absl::Seconds(1))
                  .ok());
}

TEST(AdmissionTest, OtherStatusesCarryNoRefusal) {
  EXPECT_EQ(RefusalOf(absl::ResourceExhaustedError("memory")), std::nullopt);
  EXPECT_EQ(RefusalOf(absl::OkStatus()), std::nullopt);
}

}  // namespace
}  // namespace anyprec
