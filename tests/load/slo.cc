#include "tests/load/slo.h"

#include <algorithm>

namespace anyprec::load {
namespace {

constexpr double kMicrosecondsPerMillisecond = 1000;

std::optional<bool> Within(const std::optional<double>& limit_ms,
                           const std::optional<double>& value_ms) {
  if (!limit_ms.has_value() || !value_ms.has_value()) return std::nullopt;
  return *value_ms <= *limit_ms;
}

SloResult MissedAll(const RequestRecord& record, const RequestClass& slo) {
  SloResult result;
  result.verdict = Verdict::kMissed;
  if (slo.ttft_ms.has_value()) result.ttft = false;
  if (slo.tpot_ms.has_value() && record.planned_output_tokens > 1) {
    result.tpot = false;
  }
  if (slo.deadline_ms.has_value()) result.deadline = false;
  return result;
}

}  // namespace

std::optional<double> TtftMs(const RequestRecord& record) {
  if (record.tokens.empty()) return std::nullopt;
  return record.tokens.front().since_planned_us / kMicrosecondsPerMillisecond;
}

std::optional<double> TpotMs(const RequestRecord& record) {
  if (record.tokens.size() < 2) return std::nullopt;
  const double span_us =
      static_cast<double>(record.tokens.back().since_planned_us) -
      record.tokens.front().since_planned_us;
  return span_us / kMicrosecondsPerMillisecond /
         static_cast<double>(record.tokens.size() - 1);
}

std::optional<double> E2eMs(const RequestRecord& record) {
  if (record.tokens.empty()) return std::nullopt;
  return record.tokens.back().since_planned_us / kMicrosecondsPerMillisecond;
}

bool IsShort(const RequestRecord& record) {
  return record.outcome == Outcome::kOk &&
         record.tokens.size() <
             static_cast<size_t>(record.planned_output_tokens);
}

int TokensBelowFloor(const RequestRecord& record) {
  return static_cast<int>(std::count_if(
      record.tokens.begin(), record.tokens.end(), [&](const auto& token) {
        return token.bits > 0 && token.bits < record.floor_bits;
      }));
}

bool PromptBelowFloor(const RequestRecord& record) {
  return record.prompt_bits.tokens > 0 &&
         record.prompt_bits.lowest < record.floor_bits;
}

SloResult Judge(const RequestRecord& record, const RequestClass& slo) {
  if (record.outcome == Outcome::kCancelled) return {};
  if (record.outcome != Outcome::kOk || IsShort(record)) {
    return MissedAll(record, slo);
  }
  SloResult result;
  result.ttft = Within(slo.ttft_ms, TtftMs(record));
  result.tpot = Within(slo.tpot_ms, TpotMs(record));
  result.deadline = Within(slo.deadline_ms, E2eMs(record));
  if (slo.has_slo() && !result.ttft.has_value() && !result.tpot.has_value() &&
      !result.deadline.has_value()) {
    return result;
  }
  const bool met = result.ttft.value_or(true) && result.tpot.value_or(true) &&
                   result.deadline.value_or(true) &&
                   TokensBelowFloor(record) == 0 && !PromptBelowFloor(record);
  result.verdict = met ? Verdict::kMet : Verdict::kMissed;
  return result;
}

}  // namespace anyprec::load
