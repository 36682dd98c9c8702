#include "server/metrics.h"

#include <gtest/gtest.h>
#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include <string>

#include "server/status_conversion.h"
#include "tests/server/exposition.h"
#include "tests/server/fake_engine.h"

namespace anyprec {
namespace {

Exposition Expose(const Metrics& metrics) {
  return ParseExposition(
      prometheus::TextSerializer().Serialize(metrics.collectable()->Collect()));
}

// An answer of `tokens` tokens: 10 ms in the queue, the first token after 30
// ms, and 2 ms for each of the others.
Finish Answer(int tokens, FinishReason reason = FinishReason::kStop) {
  Finish finish;
  finish.reason = reason;
  RequestStats& stats = finish.stats;
  stats.completion_tokens = tokens;
  stats.queue_time = absl::Milliseconds(10);
  stats.total = stats.queue_time;
  if (tokens > 0) stats.ttft = stats.total = absl::Milliseconds(30);
  if (tokens > 1) {
    stats.tpot = absl::Milliseconds(2);
    stats.total += (tokens - 1) * stats.tpot;
  }
  return finish;
}

Request RequestFor(Slo slo) {
  Request request;
  request.precision.slo = slo;
  return request;
}

std::string SloMetric(const char* slo, const char* attained) {
  return std::string("anyprec_slo_attained_total{attained=\"") + attained +
         "\",slo=\"" + slo + "\"}";
}

TEST(MetricsTest, AnAnswersTimesGoIntoTheirHistograms) {
  Metrics metrics;
  metrics.ObserveFinish(Request(), Answer(11));
  const Exposition exposed = Expose(metrics);
  const auto sum_ms = [&exposed](const std::string& name) {
    EXPECT_EQ(exposed.types.at(name), "histogram");
    EXPECT_EQ(exposed.Value(name + "_count"), 1) << name;
    return exposed.Value(name + "_sum") * 1e3;
  };
  EXPECT_DOUBLE_EQ(sum_ms("anyprec_request_queue_time_seconds"), 10);
  EXPECT_DOUBLE_EQ(sum_ms("anyprec_request_prefill_time_seconds"), 20);
  EXPECT_DOUBLE_EQ(sum_ms("anyprec_request_decode_time_seconds"), 20);
  EXPECT_DOUBLE_EQ(sum_ms("anyprec_time_to_first_token_seconds"), 30);
  EXPECT_DOUBLE_EQ(sum_ms("anyprec_e2e_request_latency_seconds"), 50);
  EXPECT_DOUBLE_EQ(sum_ms("anyprec_request_time_per_output_token_seconds"), 2);
}

TEST(MetricsTest, WithoutTokensThereAreNoTokenTimes) {
  Metrics metrics;
  metrics.ObserveFinish(Request(), Answer(0, FinishReason::kDeadline));
  const Exposition exposed = Expose(metrics);
  EXPECT_EQ(exposed.Value("anyprec_e2e_request_latency_seconds_count"), 1);
  EXPECT_EQ(exposed.Value("anyprec_time_to_first_token_seconds_count"), 0);
  EXPECT_EQ(exposed.Value("anyprec_request_decode_time_seconds_count"), 0);
}

TEST(MetricsTest, RequestsAreCountedByWhyTheyEnded) {
  Metrics metrics;
  metrics.ObserveFinish(Request(), Answer(2));
  metrics.ObserveFinish(Request(), Answer(2));
  metrics.ObserveFinish(Request(), Answer(2, FinishReason::kLength));
  const Exposition exposed = Expose(metrics);
  const std::string name = "anyprec_request_success_total";
  EXPECT_EQ(exposed.types.at(name), "counter");
  EXPECT_EQ(exposed.Value(name + "{finished_reason=\"stop\"}"), 2);
  EXPECT_EQ(exposed.Value(name + "{finished_reason=\"length\"}"), 1);
  EXPECT_EQ(exposed.Value(name + "{finished_reason=\"error\"}"), 0);
}

TEST(MetricsTest, OnlyWhatWasAskedForIsAttainedOrMissed) {
  Metrics metrics;
  metrics.ObserveFinish(Request(), Answer(11));
  EXPECT_EQ(Expose(metrics).Sum("anyprec_slo_attained_total"), 0);
  metrics.ObserveFinish(RequestFor({.ttft = absl::Milliseconds(30)}),
                        Answer(11));
  metrics.ObserveFinish(RequestFor({.ttft = absl::Milliseconds(29)}),
                        Answer(11));
  metrics.ObserveFinish(RequestFor({.tpot = absl::Milliseconds(1)}),
                        Answer(11));
  const Exposition exposed = Expose(metrics);
  EXPECT_EQ(exposed.Value(SloMetric("ttft", "true")), 1);
  EXPECT_EQ(exposed.Value(SloMetric("ttft", "false")), 1);
  EXPECT_EQ(exposed.Value(SloMetric("tpot", "false")), 1);
  EXPECT_EQ(exposed.Sum("anyprec_slo_attained_total"), 3);
}

TEST(MetricsTest, AnAnswerOfOneTokenHasNoTimePerTokenToAttain) {
  Metrics metrics;
  metrics.ObserveFinish(RequestFor({.tpot = absl::Milliseconds(1)}), Answer(1));
  EXPECT_EQ(Expose(metrics).Sum("anyprec_slo_attained_total"), 0);
}

TEST(MetricsTest, ADeadlineIsMissedWhereItEndedTheRequest) {
  Metrics metrics;
  Request request = RequestFor({.ttft = absl::Seconds(1)});
  request.deadline = absl::Now() + absl::Hours(1);
  metrics.ObserveFinish(request, Answer(2));
  metrics.ObserveFinish(request, Answer(0, FinishReason::kDeadline));
  // Who cancels waives it.
  metrics.ObserveFinish(request, Answer(0, FinishReason::kCancelled));
  const Exposition exposed = Expose(metrics);
  EXPECT_EQ(exposed.Value(SloMetric("deadline", "true")), 1);
  EXPECT_EQ(exposed.Value(SloMetric("deadline", "false")), 1);
  EXPECT_EQ(exposed.Value(SloMetric("ttft", "true")), 1);
  EXPECT_EQ(exposed.Value(SloMetric("ttft", "false")), 1);
}

TEST(MetricsTest, RefusalsAreCountedByTheirReasonOrElseTheirCode) {
  Metrics metrics;
  absl::Status full = absl::ResourceExhaustedError("the queue is full");
  AttachRetry(absl::Seconds(1), "QUEUE_FULL", full);
  metrics.ObserveRefusal(full);
  metrics.ObserveRefusal(absl::InvalidArgumentError("max_tokens: is -1"));
  const Exposition exposed = Expose(metrics);
  const std::string name = "anyprec_admission_rejections_total";
  EXPECT_EQ(exposed.Value(name + "{reason=\"queue_full\"}"), 1);
  EXPECT_EQ(exposed.Value(name + "{reason=\"invalid_argument\"}"), 1);
}

TEST(MetricsTest, TheEnginesNumbersAreThereWhileItIs) {
  Metrics metrics;
  const std::string name = "anyprec_generation_tokens_total";
  EXPECT_EQ(Expose(metrics).types.count(name), 0u);
  {
    FakeEngine engine;
    metrics.AttachEngine(engine, {3, 8});
    EXPECT_EQ(Expose(metrics).Sum(name), 11);
    metrics.DetachEngine();
  }
  EXPECT_EQ(Expose(metrics).types.count(name), 0u);
}

}  // namespace
}  // namespace anyprec
