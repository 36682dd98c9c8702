#include "server/engine_metrics.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <set>
#include <string>

#include "tests/server/exposition.h"

namespace anyprec {
namespace {

Exposition Expose(const EngineStats& stats) {
  return ParseExposition(
      prometheus::TextSerializer().Serialize(EngineMetrics(stats, {3, 8})));
}

TEST(EngineMetricsTest, TheStateOfTheMomentIsInGauges) {
  EngineStats stats;
  stats.running = 3;
  stats.waiting = 5;
  stats.kv_blocks_total = 40;
  stats.kv_blocks_free = 10;
  const Exposition metrics = Expose(stats);
  EXPECT_EQ(metrics.types.at("anyprec_num_requests_running"), "gauge");
  EXPECT_EQ(metrics.Value("anyprec_num_requests_running"), 3);
  EXPECT_EQ(metrics.Value("anyprec_num_requests_waiting"), 5);
  EXPECT_EQ(metrics.Value("anyprec_kv_cache_usage_perc"), 0.75);
}

TEST(EngineMetricsTest, TokensAreCountedForEachLoadedPrecisionFromZeroOn) {
  EngineStats stats;
  stats.prompt_tokens_by_bits[3] = 7;
  stats.preemptions = 2;
  stats.steps_without_record = 6;
  stats.prefix_cache_queries = 50;
  stats.prefix_cache_hits = 40;
  stats.draft_tokens = 30;
  stats.accepted_draft_tokens = 20;
  stats.load_pressure = 2.5;
  stats.generated_tokens_by_bits[4] = 12;
  const Exposition metrics = Expose(stats);
  EXPECT_EQ(metrics.types.at("anyprec_generation_tokens_total"), "counter");
  EXPECT_EQ(metrics.Value("anyprec_generation_tokens_total{bits=\"3\"}"), 0);
  EXPECT_EQ(metrics.Value("anyprec_generation_tokens_total{bits=\"4\"}"), 12);
  EXPECT_EQ(metrics.Value("anyprec_generation_tokens_total{bits=\"8\"}"), 0);
  EXPECT_EQ(metrics.Sum("anyprec_generation_tokens_total"), 12);
  EXPECT_EQ(metrics.types.at("anyprec_prompt_tokens_total"), "counter");
  EXPECT_EQ(metrics.Value("anyprec_prompt_tokens_total{bits=\"3\"}"), 7);
  EXPECT_EQ(metrics.Value("anyprec_prompt_tokens_total{bits=\"8\"}"), 0);
  EXPECT_EQ(metrics.Sum("anyprec_prompt_tokens_total"), 7);
  EXPECT_EQ(metrics.Value("anyprec_num_preemptions_total"), 2);
  EXPECT_EQ(metrics.Value("anyprec_steps_without_graph_total"), 6);
  EXPECT_EQ(metrics.Value("anyprec_prefix_cache_queries_total"), 50);
  EXPECT_EQ(metrics.Value("anyprec_prefix_cache_hits_total"), 40);
  EXPECT_EQ(metrics.Value("anyprec_spec_decode_num_draft_tokens_total"), 30);
  EXPECT_EQ(metrics.Value("anyprec_spec_decode_num_accepted_tokens_total"), 20);
  EXPECT_EQ(metrics.Value("anyprec_load_pressure"), 2.5);
}

TEST(EngineMetricsTest, StepsAreAHistogramOverBits) {
  EngineStats stats;
  stats.steps_by_bits[3] = 10;
  stats.steps_by_bits[8] = 5;
  const Exposition metrics = Expose(stats);
  EXPECT_EQ(metrics.types.at("anyprec_step_bits"), "histogram");
  EXPECT_EQ(metrics.Value("anyprec_step_bits_bucket{le=\"2\"}"), 0);
  EXPECT_EQ(metrics.Value("anyprec_step_bits_bucket{le=\"3\"}"), 10);
  EXPECT_EQ(metrics.Value("anyprec_step_bits_bucket{le=\"7\"}"), 10);
  EXPECT_EQ(metrics.Value("anyprec_step_bits_bucket{le=\"8\"}"), 15);
  EXPECT_EQ(metrics.Value("anyprec_step_bits_bucket{le=\"+Inf\"}"), 15);
  EXPECT_EQ(metrics.Value("anyprec_step_bits_count"), 15);
  EXPECT_EQ(metrics.Value("anyprec_step_bits_sum"), 70);
}

TEST(EngineMetricsTest, AnUnquantizedModelHasOnePrecision) {
  EngineStats stats;
  stats.generated_tokens_by_bits[16] = 4;
  stats.steps_by_bits[16] = 4;
  const Exposition metrics = ParseExposition(
      prometheus::TextSerializer().Serialize(EngineMetrics(stats, {16, 16})));
  EXPECT_EQ(metrics.Value("anyprec_generation_tokens_total{bits=\"16\"}"), 4);
  EXPECT_EQ(metrics.Value("anyprec_step_bits_bucket{le=\"16\"}"), 4);
}

TEST(EngineMetricsTest, HistogramsOfTheEngineKeepCountsAndSum) {
  EngineStats stats;
  stats.inter_token_seconds.Add(0.0004);
  stats.inter_token_seconds.Add(0.0009);
  stats.inter_token_seconds.Add(100);
  const Exposition metrics = Expose(stats);
  const std::string name = "anyprec_inter_token_latency_seconds";
  EXPECT_EQ(metrics.types.at(name), "histogram");
  EXPECT_EQ(metrics.Value(name + "_bucket{le=\"0.0005\"}"), 1);
  EXPECT_EQ(metrics.Value(name + "_bucket{le=\"0.001\"}"), 2);
  EXPECT_EQ(metrics.Value(name + "_bucket{le=\"5\"}"), 2);
  EXPECT_EQ(metrics.Value(name + "_bucket{le=\"+Inf\"}"), 3);
  EXPECT_DOUBLE_EQ(metrics.Value(name + "_sum"), 100.0013);
}

TEST(EngineMetricsTest, PredictionsStandBesideWhatWasMeasured) {
  EngineStats stats;
  stats.predicted_step_seconds = 2;
  stats.measured_step_seconds = 3;
  stats.measured_by_predicted.Add(1.5);
  stats.precision_raises = 4;
  stats.precision_drops = 6;
  const Exposition metrics = Expose(stats);
  EXPECT_EQ(metrics.Value("anyprec_predicted_step_seconds_total"), 2);
  EXPECT_EQ(metrics.Value("anyprec_measured_step_seconds_total"), 3);
  EXPECT_EQ(metrics.Value("anyprec_step_measured_by_predicted_ratio_count"), 1);
  EXPECT_EQ(metrics.Value("anyprec_precision_changes_total{direction=\"up\"}"),
            4);
  EXPECT_EQ(
      metrics.Value("anyprec_precision_changes_total{direction=\"down\"}"), 6);
}

TEST(EngineMetricsTest, EveryFamilyHasItsOwnNameAndAHelp) {
  std::set<std::string> names;
  for (const prometheus::MetricFamily& family :
       EngineMetrics(EngineStats(), {3, 8})) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
    EXPECT_NE(family.help, "") << family.name;
  }
}

}  // namespace
}  // namespace anyprec
