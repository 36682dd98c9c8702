#include "server/engine_metrics.h"

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/engine/histogram.h"

namespace anyprec {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Gauge(const char* name, const char* help, double value) {
  ClientMetric metric;
  metric.gauge.value = value;
  return {name, help, MetricType::Gauge, {std::move(metric)}};
}

ClientMetric Count(double value) {
  ClientMetric metric;
  metric.counter.value = value;
  return metric;
}

ClientMetric LabeledCount(const char* label, std::string label_value,
                          int64_t value) {
  ClientMetric metric = Count(static_cast<double>(value));
  metric.label.push_back({label, std::move(label_value)});
  return metric;
}

MetricFamily Counter(const char* name, const char* help, double value) {
  return {name, help, MetricType::Counter, {Count(value)}};
}

MetricFamily TokensByBits(const char* name, const char* help,
                          const BitsHistogram& tokens,
                          const PrecisionLimits& loaded) {
  MetricFamily family = {name, help, MetricType::Counter, {}};
  for (int bits = loaded.min_bits; bits <= loaded.max_bits; ++bits) {
    family.metric.push_back(
        LabeledCount("bits", absl::StrCat(bits), tokens[bits]));
  }
  return family;
}

MetricFamily StepBits(const BitsHistogram& steps) {
  ClientMetric metric;
  uint64_t count = 0;
  double sum = 0;
  for (size_t bits = 1; bits < steps.size(); ++bits) {
    count += static_cast<uint64_t>(steps[bits]);
    sum += static_cast<double>(bits) * static_cast<double>(steps[bits]);
    // Nothing is served between 8 bits and 16, unquantized.
    if (bits > 8 && bits + 1 < steps.size()) continue;
    metric.histogram.bucket.push_back({count, static_cast<double>(bits)});
  }
  metric.histogram.bucket.push_back(
      {count, std::numeric_limits<double>::infinity()});
  metric.histogram.sample_count = count;
  metric.histogram.sample_sum = sum;
  return {"anyprec_step_bits",
          "Precisions of the steps; a step of several counts once for each.",
          MetricType::Histogram,
          {std::move(metric)}};
}

MetricFamily Distribution(const char* name, const char* help,
                          const Histogram& histogram) {
  ClientMetric metric;
  uint64_t count = 0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    count += static_cast<uint64_t>(histogram.counts()[i]);
    metric.histogram.bucket.push_back(
        {count, i < histogram.bounds().size()
                    ? histogram.bounds()[i]
                    : std::numeric_limits<double>::infinity()});
  }
  metric.histogram.sample_count = count;
  metric.histogram.sample_sum = histogram.sum();
  return {name, help, MetricType::Histogram, {std::move(metric)}};
}

double KvCacheUsage(const EngineStats& stats) {
  if (stats.kv_blocks_total == 0) return 0;
  return 1 - static_cast<double>(stats.kv_blocks_free) / stats.kv_blocks_total;
}

}  // namespace

std::vector<MetricFamily> EngineMetrics(const EngineStats& stats,
                                        const PrecisionLimits& loaded) {
  return {
      Gauge("anyprec_num_requests_running", "Requests that take part in steps.",
            stats.running),
      Gauge("anyprec_num_requests_waiting", "Requests in the queue.",
            stats.waiting),
      Gauge("anyprec_kv_cache_usage_perc",
            "KV blocks in use; 1 is all of them.", KvCacheUsage(stats)),
      Gauge("anyprec_load_pressure",
            "By how much requests are served faster than they ask for, as "
            "others are refused; 1 where none are.",
            stats.load_pressure),
      TokensByBits(
          "anyprec_prompt_tokens_total",
          "Tokens of prompts computed, by the precision of their step.",
          stats.prompt_tokens_by_bits, loaded),
      Counter("anyprec_prefix_cache_queries_total",
              "Tokens of prompts that were looked up in the prefix cache.",
              static_cast<double>(stats.prefix_cache_queries)),
      Counter("anyprec_prefix_cache_hits_total",
              "Tokens of prompts that the prefix cache had.",
              static_cast<double>(stats.prefix_cache_hits)),
      Counter("anyprec_spec_decode_num_draft_tokens_total",
              "Tokens that were drafted and verified.",
              static_cast<double>(stats.draft_tokens)),
      Counter("anyprec_spec_decode_num_accepted_tokens_total",
              "Drafted tokens that were accepted.",
              static_cast<double>(stats.accepted_draft_tokens)),
      TokensByBits("anyprec_generation_tokens_total",
                   "Tokens generated, by the precision of their step.",
                   stats.generated_tokens_by_bits, loaded),
      Counter("anyprec_num_preemptions_total",
              "Times that a running request went back to the queue.",
              static_cast<double>(stats.preemptions)),
      Counter("anyprec_steps_without_graph_total",
              "Steps launched kernel by kernel, as no GPU memory was left for "
              "their CUDA graph; a lower --gpu_memory_fraction leaves some.",
              static_cast<double>(stats.steps_without_record)),
      Distribution("anyprec_inter_token_latency_seconds",
                   "Time between two tokens of an answer.",
                   stats.inter_token_seconds),
      StepBits(stats.steps_by_bits),
      {"anyprec_precision_changes_total",
       "Changes of precision within an answer.",
       MetricType::Counter,
       {LabeledCount("direction", "up", stats.precision_raises),
        LabeledCount("direction", "down", stats.precision_drops)}},
      Counter("anyprec_predicted_step_seconds_total",
              "Step time as predicted, of the steps that could be.",
              stats.predicted_step_seconds),
      Counter("anyprec_measured_step_seconds_total",
              "Step time as measured, of the same steps.",
              stats.measured_step_seconds),
      Distribution("anyprec_step_measured_by_predicted_ratio",
                   "Measured by predicted time of a step; 1 is right.",
                   stats.measured_by_predicted),
  };
}

}  // namespace anyprec
