#include "tests/load/metrics.h"

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace anyprec::load {
namespace {

// Precisions that quantized models have: always listed.
constexpr int kLowestBits = 3;
constexpr int kHighestBits = 8;

nlohmann::json ToJson(const Distribution& distribution) {
  const bool any = distribution.count > 0;
  const auto value = [any](double number) {
    return any ? nlohmann::json(number) : nlohmann::json();
  };
  return {{"count", distribution.count},    {"mean", value(distribution.mean)},
          {"p50", value(distribution.p50)}, {"p90", value(distribution.p90)},
          {"p95", value(distribution.p95)}, {"p99", value(distribution.p99)},
          {"max", value(distribution.max)}};
}

nlohmann::json ToJson(const Attainment& attainment) {
  if (attainment.judged == 0) return nlohmann::json();
  return static_cast<double>(attainment.met) /
         static_cast<double>(attainment.judged);
}

nlohmann::json OutcomesToJson(const ClassSummary& summary) {
  nlohmann::json json = {{"planned", summary.planned},
                         {"judged", summary.all.judged},
                         {"met", summary.all.met}};
  for (const Outcome outcome : kOutcomes) {
    const auto found = summary.outcomes.find(outcome);
    json[std::string(OutcomeName(outcome))] =
        found == summary.outcomes.end() ? 0 : found->second;
  }
  return json;
}

nlohmann::json BitsToJson(const BitsCounts& counts) {
  nlohmann::json json = nlohmann::json::object();
  for (int bits = 0; bits <= kMaxBitsReported; ++bits) {
    const bool usual = bits >= kLowestBits && bits <= kHighestBits;
    if (usual || counts[bits] > 0) json[absl::StrCat(bits)] = counts[bits];
  }
  return json;
}

// Null for none.
nlohmann::json MeanBitsToJson(double mean_bits) {
  return mean_bits > 0 ? nlohmann::json(mean_bits) : nlohmann::json();
}

nlohmann::json ToJson(const ClassSummary& summary) {
  return {
      {"requests", OutcomesToJson(summary)},
      {"goodput", ToJson(summary.all)},
      {"ttft_attainment", ToJson(summary.ttft)},
      {"tpot_attainment", ToJson(summary.tpot)},
      {"deadline_attainment", ToJson(summary.deadline)},
      {"ttft_ms", ToJson(summary.ttft_ms)},
      {"tpot_ms", ToJson(summary.tpot_ms)},
      {"itl_ms", ToJson(summary.itl_ms)},
      {"e2e_ms", ToJson(summary.e2e_ms)},
      {"mean_bits", MeanBitsToJson(MeanBits(summary.tokens_by_bits))},
      {"prompt_mean_bits", MeanBitsToJson(summary.prompt_bits.Mean())},
      {"tokens_by_bits", BitsToJson(summary.tokens_by_bits)},
  };
}

std::string MemberNames(const nlohmann::json& group) {
  std::vector<std::string> names;
  for (const auto& item : group.items()) names.push_back(item.key());
  return absl::StrJoin(names, ", ");
}

}  // namespace

nlohmann::json MetricsToJson(const Summary& summary,
                             const std::vector<RequestClass>& classes) {
  nlohmann::json json = ToJson(summary.total);
  json["measured_s"] = summary.measured_s;
  json["offered_rps"] = summary.offered_rps;
  json["completed_rps"] = summary.completed_rps;
  json["goodput_rps"] = summary.goodput_rps;
  json["output_tokens_per_s"] = summary.output_tokens_per_s;
  json["prompt_tokens_per_s"] = summary.prompt_tokens_per_s;
  json["client_queue_ms"] = ToJson(summary.client_queue_ms);
  json["tokens_below_floor"] = summary.tokens_below_floor;
  json["answers_below_floor"] = summary.answers_below_floor;
  json["prompts_below_floor"] = summary.prompts_below_floor;
  json["tokens_without_bits"] = summary.tokens_without_bits;
  json["answers_without_bits"] = summary.answers_without_bits;
  json["short_answers"] = summary.short_answers;
  json["lost"] = summary.lost;
  json["refusals"] = {
      {"latency_ms", ToJson(summary.refusal_latency_ms)},
      {"without_retry_info", summary.refusals_without_retry_info},
      {"retry_after_ms", ToJson(summary.retry_after_ms)}};
  json["reasons"] = nlohmann::json::object();
  for (const auto& [reason, count] : summary.reasons) {
    json["reasons"][reason] = count;
  }
  json["classes"] = nlohmann::json::object();
  for (size_t i = 0; i < classes.size(); ++i) {
    json["classes"][classes[i].name] = ToJson(summary.classes[i]);
  }
  return json;
}

absl::StatusOr<std::optional<double>> FindMetric(const nlohmann::json& metrics,
                                                 absl::string_view name) {
  const nlohmann::json* group = &metrics;
  for (const absl::string_view key : absl::StrSplit(name, '.')) {
    const auto member =
        group->is_object() ? group->find(std::string(key)) : group->end();
    if (!group->is_object() || member == group->end()) {
      return absl::NotFoundError(absl::StrCat(
          "there is no metric \"", absl::CEscape(name), "\": \"",
          absl::CEscape(key), "\" is none of ", MemberNames(*group)));
    }
    group = &*member;
  }
  if (group->is_null()) return std::nullopt;
  if (group->is_number()) return group->get<double>();
  return absl::NotFoundError(absl::StrCat(
      "\"", absl::CEscape(name), "\" is a group of metrics; name one of ",
      MemberNames(*group)));
}

}  // namespace anyprec::load
