#include "runtime/engine/request_validation.h"

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

template <typename T>
absl::Status Invalid(absl::string_view field, const T& value,
                     absl::string_view range) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", value, ", needs ", range));
}

absl::Status ValidateSampling(const SamplingParams& sampling) {
  // Written so that NaN fails.
  if (!(sampling.temperature >= 0 && sampling.temperature <= 100)) {
    return Invalid("sampling.temperature", sampling.temperature, "[0, 100]");
  }
  if (sampling.top_k < 0) {
    return Invalid("sampling.top_k", sampling.top_k, "0 (off) or more");
  }
  if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
    return Invalid("sampling.top_p", sampling.top_p, "(0, 1]");
  }
  if (!(sampling.min_p >= 0 && sampling.min_p <= 1)) {
    return Invalid("sampling.min_p", sampling.min_p, "[0, 1]");
  }
  if (!(sampling.repetition_penalty >= 0.01f &&
        sampling.repetition_penalty <= 100)) {
    return Invalid("sampling.repetition_penalty", sampling.repetition_penalty,
                   "[0.01, 100]");
  }
  if (!(std::abs(sampling.presence_penalty) <= 2)) {
    return Invalid("sampling.presence_penalty", sampling.presence_penalty,
                   "[-2, 2]");
  }
  if (!(std::abs(sampling.frequency_penalty) <= 2)) {
    return Invalid("sampling.frequency_penalty", sampling.frequency_penalty,
                   "[-2, 2]");
  }
  return absl::OkStatus();
}

absl::Status ValidateTokens(absl::string_view field,
                            const std::vector<TokenId>& tokens,
                            int vocab_size) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= vocab_size) {
      return Invalid(absl::StrCat(field, "[", i, "]"), tokens[i],
                     absl::StrCat("[0, ", vocab_size, ")"));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateStopping(const StopCriteria& stopping,
                              const ModelLimits& limits) {
  if (stopping.stop.size() > kMaxStopStrings) {
    return Invalid("stopping.stop",
                   absl::StrCat(stopping.stop.size(), " strings"),
                   absl::StrCat(kMaxStopStrings, " at most"));
  }
  if (!stopping.stop.empty() && !limits.has_tokenizer) {
    return Invalid("stopping.stop",
                   absl::StrCat(stopping.stop.size(), " strings"),
                   "a model with a tokenizer");
  }
  for (size_t i = 0; i < stopping.stop.size(); ++i) {
    const size_t bytes = stopping.stop[i].size();
    if (bytes == 0 || bytes > kMaxStopStringBytes) {
      return Invalid(absl::StrCat("stopping.stop[", i, "]"),
                     absl::StrCat(bytes, " bytes"),
                     absl::StrCat("[1, ", kMaxStopStringBytes, "]"));
    }
  }
  if (stopping.stop_token_ids.size() > kMaxStopTokens) {
    return Invalid("stopping.stop_token_ids",
                   absl::StrCat(stopping.stop_token_ids.size(), " ids"),
                   absl::StrCat(kMaxStopTokens, " at most"));
  }
  return ValidateTokens("stopping.stop_token_ids", stopping.stop_token_ids,
                        limits.vocab_size);
}

absl::Status ValidateLength(const Request& request, const ModelLimits& limits) {
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  const int max_tokens = request.stopping.max_tokens;
  if (prompt == 0) return Invalid("prompt", "0 tokens", "1 or more");
  if (prompt > limits.max_context_tokens) {
    return Invalid("prompt", absl::StrCat(prompt, " tokens"),
                   absl::StrCat(limits.max_context_tokens,
                                " at most, the longest context served"));
  }
  const int least = request.prompt_logprobs ? 0 : 1;
  const int64_t most = limits.max_context_tokens - prompt;
  if (max_tokens < least || max_tokens > most) {
    return Invalid("stopping.max_tokens", max_tokens,
                   absl::StrCat("[", least, ", ", most, "] beside a prompt of ",
                                prompt, " tokens"));
  }
  return ValidateTokens("prompt", request.prompt, limits.vocab_size);
}

absl::Status ValidatePrecision(const PrecisionSpec& precision,
                               const ModelLimits& limits) {
  const std::string range =
      absl::StrCat("[", limits.min_bits, ", ", limits.max_bits, "]");
  const auto check = [&](absl::string_view field, std::optional<int> bits) {
    if (bits.has_value() &&
        (*bits < limits.min_bits || *bits > limits.max_bits)) {
      return Invalid(field, *bits, range);
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(check("precision.fixed_bits", precision.fixed_bits));
  RETURN_IF_ERROR(check("precision.min_bits", precision.min_bits));
  RETURN_IF_ERROR(check("precision.max_bits", precision.max_bits));
  if (precision.fixed_bits.has_value() &&
      (precision.min_bits.has_value() || precision.max_bits.has_value())) {
    return Invalid("precision.fixed_bits", *precision.fixed_bits,
                   "to stand without min_bits and max_bits");
  }
  const BitsRange bits =
      ResolveBits(precision, {limits.min_bits, limits.max_bits});
  if (bits.min > bits.max) {
    return Invalid("precision.min_bits", bits.min,
                   absl::StrCat(bits.max, ", which is max_bits, at most"));
  }
  const auto check_slo = [](absl::string_view field,
                            std::optional<absl::Duration> target) {
    if (target.has_value() && *target <= absl::ZeroDuration()) {
      return Invalid(field, absl::FormatDuration(*target), "more than 0");
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(check_slo("precision.slo.ttft", precision.slo.ttft));
  return check_slo("precision.slo.tpot", precision.slo.tpot);
}

absl::Status ValidateSpeculation(const Request& request,
                                 const ModelLimits& limits) {
  if (!request.speculation.has_value()) return absl::OkStatus();
  const SpeculationSpec& spec = *request.speculation;
  if (spec.draft_tokens.has_value() &&
      (*spec.draft_tokens < 0 || *spec.draft_tokens > kMaxDraftTokens)) {
    return Invalid("speculation.draft_tokens", *spec.draft_tokens,
                   absl::StrCat("[0, ", kMaxDraftTokens, "]"));
  }
  const int most =
      ResolveBits(request.precision, {limits.min_bits, limits.max_bits}).max;
  if (spec.draft_bits.has_value() &&
      (*spec.draft_bits < limits.min_bits || *spec.draft_bits >= most)) {
    return Invalid("speculation.draft_bits", *spec.draft_bits,
                   absl::StrCat(limits.min_bits, " or more, and less than ",
                                most, ", the request's highest precision"));
  }
  if (spec.draft_tokens.value_or(0) > 0 && most <= limits.min_bits) {
    return Invalid("speculation.draft_tokens", *spec.draft_tokens,
                   absl::StrCat("a request above ", limits.min_bits,
                                " bits, the lowest precision"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateRequest(const Request& request,
                             const ModelLimits& limits) {
  RETURN_IF_ERROR(ValidateLength(request, limits));
  RETURN_IF_ERROR(ValidateSampling(request.sampling));
  RETURN_IF_ERROR(ValidateStopping(request.stopping, limits));
  RETURN_IF_ERROR(ValidatePrecision(request.precision, limits));
  RETURN_IF_ERROR(ValidateSpeculation(request, limits));
  const std::optional<int> top = request.top_logprobs;
  if (top.has_value() && (*top < 0 || *top > kMaxTopLogprobs)) {
    return Invalid("top_logprobs", *top,
                   absl::StrCat("[0, ", kMaxTopLogprobs, "]"));
  }
  return absl::OkStatus();
}

}  // namespace anyprec
