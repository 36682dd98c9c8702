#include "server/parameter_conversion.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

namespace anyprec {
namespace {

// Bounds that keep one request's cost in proportion, as the .proto files
// document them. No wider than the engine's own, which would refuse without
// naming the API's field.
constexpr int kMaxSamples = 16;
constexpr int kMaxStopStrings = 16;
constexpr int kMaxStopStringBytes = 1024;
constexpr int kMaxStopTokenIds = 64;
constexpr float kMaxTemperature = 100.0f;
constexpr float kMinRepetitionPenalty = 0.01f;
constexpr float kMaxRepetitionPenalty = 100.0f;
constexpr float kMaxPenalty = 2.0f;
// A day: longer waits are as good as none, and absl::Duration stays finite.
constexpr double kMaxMilliseconds = 24.0 * 3600 * 1000;
// A microsecond, shorter than any step.
constexpr double kMinMilliseconds = 1e-3;

Slo ConvertSlo(const v1::SloSpec& message, const FieldChecker& check) {
  Slo slo;
  if (message.has_ttft_ms()) {
    CheckMilliseconds("ttft_ms", message.ttft_ms(), check);
    slo.ttft = absl::Milliseconds(message.ttft_ms());
  }
  if (message.has_tpot_ms()) {
    CheckMilliseconds("tpot_ms", message.tpot_ms(), check);
    slo.tpot = absl::Milliseconds(message.tpot_ms());
  }
  if (message.has_deadline_ms()) {
    CheckMilliseconds("deadline_ms", message.deadline_ms(), check);
  }
  return slo;
}

}  // namespace

void CheckMilliseconds(absl::string_view field, double value,
                       const FieldChecker& check) {
  check.InRange(field, value, kMinMilliseconds, kMaxMilliseconds);
}

SamplingParams ConvertSampling(const v1::SamplingParams& message,
                               const ServedModel& model,
                               const FieldChecker& check, int* n) {
  SamplingParams sampling;
  if (message.has_temperature()) {
    sampling.temperature = message.temperature();
    check.InRange("temperature", sampling.temperature, 0.0f, kMaxTemperature);
  }
  if (message.has_top_k()) {
    sampling.top_k = message.top_k();
    check.InRange("top_k", sampling.top_k, 0, std::numeric_limits<int>::max());
  }
  if (message.has_top_p()) {
    sampling.top_p = message.top_p();
    check.AboveZero("top_p", sampling.top_p, 1.0f);
  }
  if (message.has_min_p()) {
    sampling.min_p = message.min_p();
    check.InRange("min_p", sampling.min_p, 0.0f, 1.0f);
  }
  if (message.has_repetition_penalty()) {
    sampling.repetition_penalty = message.repetition_penalty();
    check.InRange("repetition_penalty", sampling.repetition_penalty,
                  kMinRepetitionPenalty, kMaxRepetitionPenalty);
  }
  if (message.has_presence_penalty()) {
    sampling.presence_penalty = message.presence_penalty();
    check.InRange("presence_penalty", sampling.presence_penalty, -kMaxPenalty,
                  kMaxPenalty);
  }
  if (message.has_frequency_penalty()) {
    sampling.frequency_penalty = message.frequency_penalty();
    check.InRange("frequency_penalty", sampling.frequency_penalty, -kMaxPenalty,
                  kMaxPenalty);
  }
  if (message.has_seed()) sampling.seed = message.seed();
  if (message.has_n()) {
    *n = message.n();
    check.InRange("n", *n, 1, std::min(kMaxSamples, model.max_requests));
  }
  return sampling;
}

StopCriteria ConvertStopping(const v1::StoppingCriteria& message,
                             const ServedModel& model,
                             const FieldChecker& check) {
  StopCriteria stopping;
  stopping.ignore_eos = message.ignore_eos();
  stopping.max_tokens = message.max_tokens();
  stopping.max_tokens_given = message.has_max_tokens();
  if (!check.AtMost("stop", message.stop_size(), kMaxStopStrings) ||
      !check.AtMost("stop_token_ids", message.stop_token_ids_size(),
                    kMaxStopTokenIds)) {
    return stopping;
  }
  if (message.stop_size() > 0 && model.tokenizer == nullptr) {
    check.Fail("stop", "the model has no tokenizer; use stop_token_ids");
  }
  for (int i = 0; i < message.stop_size(); ++i) {
    const int bytes = static_cast<int>(message.stop(i).size());
    if (bytes < 1 || bytes > kMaxStopStringBytes) {
      check.Fail(absl::StrCat("stop[", i, "]"),
                 absl::StrCat("has ", bytes, " bytes; must have 1 to ",
                              kMaxStopStringBytes));
    }
    stopping.stop.push_back(message.stop(i));
  }
  for (int i = 0; i < message.stop_token_ids_size(); ++i) {
    check.InRange(absl::StrCat("stop_token_ids[", i, "]"),
                  message.stop_token_ids(i), 0, model.vocab_size - 1);
    stopping.stop_token_ids.push_back(message.stop_token_ids(i));
  }
  return stopping;
}

PrecisionSpec ConvertPrecision(const v1::PrecisionSpec& message,
                               const ServedModel& model,
                               const FieldChecker& check) {
  PrecisionSpec precision;
  const int low = model.seed_bits;
  const int high = model.max_bits;
  if (message.has_fixed_bits()) {
    precision.fixed_bits = message.fixed_bits();
    check.InRange("fixed_bits", message.fixed_bits(), low, high);
    if (message.has_min_bits() || message.has_max_bits()) {
      check.Fail("fixed_bits", "excludes min_bits and max_bits");
    }
  }
  if (message.has_min_bits()) {
    precision.min_bits = message.min_bits();
    check.InRange("min_bits", message.min_bits(), low, high);
  }
  if (message.has_max_bits()) {
    precision.max_bits = message.max_bits();
    check.InRange("max_bits", message.max_bits(), low, high);
  }
  if (message.has_min_bits() && message.has_max_bits() &&
      message.min_bits() > message.max_bits()) {
    check.Fail("min_bits",
               absl::StrCat("is ", message.min_bits(),
                            ", above max_bits, which is ", message.max_bits()));
  }
  precision.slo = ConvertSlo(message.slo(), check.Below("slo"));
  return precision;
}

SpeculationSpec ConvertSpeculation(const v1::Speculation& message,
                                   const PrecisionSpec& precision,
                                   const ServedModel& model,
                                   const FieldChecker& check) {
  SpeculationSpec speculation;
  const int most =
      ResolveBits(precision, {model.seed_bits, model.max_bits}).max;
  if (message.has_draft_tokens()) {
    speculation.draft_tokens = message.draft_tokens();
    check.InRange("draft_tokens", message.draft_tokens(), 0, kMaxDraftTokens);
    if (message.draft_tokens() > 0 && most <= model.seed_bits) {
      check.Fail("draft_tokens",
                 absl::StrCat("is ", message.draft_tokens(),
                              "; no precision lies below that of the request, "
                              "which is ",
                              most, " at most"));
    }
  }
  if (message.has_draft_bits()) {
    speculation.draft_bits = message.draft_bits();
    if (message.draft_bits() < model.seed_bits ||
        message.draft_bits() >= most) {
      check.Fail("draft_bits",
                 absl::StrCat("is ", message.draft_bits(), "; must be in [",
                              model.seed_bits, ", ", most,
                              "), below the request's highest precision"));
    }
  }
  return speculation;
}

}  // namespace anyprec
