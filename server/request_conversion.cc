#include "server/request_conversion.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status_macros.h"
#include "server/field_violations.h"

namespace anyprec {
namespace {

// Bounds that keep one request's cost in proportion, as the .proto files
// document them. No wider than the engine's own, which would refuse without
// naming the API's field.
constexpr int kMaxSamples = 16;
constexpr int kMaxLogprobs = 20;
constexpr int kMaxStopStrings = 16;
constexpr int kMaxStopStringBytes = 1024;
constexpr int kMaxStopTokenIds = 64;
constexpr float kMaxTemperature = 100.0f;
constexpr float kMinRepetitionPenalty = 0.01f;
constexpr float kMaxRepetitionPenalty = 100.0f;
constexpr float kMaxPenalty = 2.0f;
constexpr int kMaxPriority = 100;
// A day: longer waits are as good as none, and absl::Duration stays finite.
constexpr double kMaxMilliseconds = 24.0 * 3600 * 1000;
// A microsecond, shorter than any step.
constexpr double kMinMilliseconds = 1e-3;

// gRPC's limit for a message, which clients keep unless told otherwise.
constexpr int64_t kMaxUnaryBytes = int64_t{4} << 20;

// Texts are encoded on gRPC's threads, so those that no context could hold are
// refused unread. Text of any language has tokens of 3 to 6 bytes; only long
// runs of spaces come near this.
constexpr size_t kMaxBytesPerToken = 32;

// Checks fields below one path and notes what is wrong.
class FieldChecker {
 public:
  FieldChecker(absl::string_view prefix, FieldViolations& violations)
      : prefix_(prefix), violations_(violations) {}

  FieldChecker Below(absl::string_view field) const {
    return FieldChecker(absl::StrCat(prefix_, field, "."), violations_);
  }

  void Fail(absl::string_view field, absl::string_view description) const {
    violations_.Add(absl::StrCat(prefix_, field), description);
  }

  // Fails, and gives the status of all that was noted.
  absl::Status Refuse(absl::string_view field,
                      absl::string_view description) const {
    Fail(field, description);
    return violations_.ToStatus();
  }

  // A NaN is in no range.
  template <typename T>
  void InRange(absl::string_view field, T value, T low, T high) const {
    if (value >= low && value <= high) return;
    Fail(field,
         absl::StrCat("is ", value, "; must be in [", low, ", ", high, "]"));
  }

  // Whether a list is short enough.
  bool AtMost(absl::string_view field, int size, int most) const {
    if (size <= most) return true;
    Fail(field, absl::StrCat("has ", size, " entries; may have ", most));
    return false;
  }

  template <typename T>
  void AboveZero(absl::string_view field, T value, T high) const {
    if (value > 0 && value <= high) return;
    Fail(field, absl::StrCat("is ", value, "; must be in (0, ", high, "]"));
  }

 private:
  std::string prefix_;
  FieldViolations& violations_;
};

absl::Status NoTokenizerError() {
  return absl::FailedPreconditionError(
      "the model has no tokenizer; send token_ids");
}

absl::Status CheckTextBytes(absl::string_view field, size_t bytes,
                            const ServedModel& model,
                            const FieldChecker& check) {
  const size_t most = kMaxBytesPerToken * model.max_context_tokens;
  if (bytes <= most) return absl::OkStatus();
  return check.Refuse(
      field,
      absl::StrCat("has ", bytes, " bytes; a context of ",
                   model.max_context_tokens, " tokens takes at most ", most));
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

// The prompt may yet show max_tokens to be wrong, or leave room for it.
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

void CheckMilliseconds(absl::string_view field, double value,
                       const FieldChecker& check) {
  check.InRange(field, value, kMinMilliseconds, kMaxMilliseconds);
}

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

std::vector<TokenId> ConvertTokenIds(
    const google::protobuf::RepeatedField<int32_t>& ids, absl::string_view path,
    const ServedModel& model, const FieldChecker& check) {
  for (int i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= model.vocab_size) {
      // The first is enough: a wrong tokenizer makes thousands.
      check.Fail(absl::StrCat(path, "[", i, "]"),
                 absl::StrCat("is ", ids[i], "; must be in [0, ",
                              model.vocab_size - 1, "]"));
      break;
    }
  }
  return std::vector<TokenId>(ids.begin(), ids.end());
}

absl::StatusOr<std::vector<TokenId>> EncodeConversation(
    const v1::Conversation& conversation, const ServedModel& model,
    const FieldChecker& check) {
  if (model.tokenizer == nullptr) return NoTokenizerError();
  RETURN_IF_ERROR(model.chat_template.status());
  if (conversation.messages().empty()) {
    check.Fail("messages", "is empty; a conversation has a message at least");
    return std::vector<TokenId>();
  }
  // Each message has a token at least, its markup.
  if (conversation.messages_size() > model.max_context_tokens) {
    return check.Refuse("messages",
                        absl::StrCat("has ", conversation.messages_size(),
                                     " messages; the context holds ",
                                     model.max_context_tokens, " tokens"));
  }
  std::vector<ChatMessage> messages;
  size_t bytes = 0;
  for (const v1::ChatMessage& message : conversation.messages()) {
    messages.push_back({message.role(), message.content()});
    bytes += message.role().size() + message.content().size();
  }
  RETURN_IF_ERROR(CheckTextBytes("messages", bytes, model, check));
  absl::StatusOr<std::vector<TokenId>> ids = model.chat_template->Encode(
      *model.tokenizer, messages, /*add_generation_prompt=*/true);
  if (absl::IsInvalidArgument(ids.status())) {
    // "messages[0].role: ...", as a path from the conversation.
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(ids.status().message(), absl::MaxSplits(": ", 1));
    check.Fail(parts.first, parts.second);
    return std::vector<TokenId>();
  }
  return ids;
}

absl::StatusOr<std::vector<TokenId>> EncodeText(absl::string_view text,
                                                bool add_special,
                                                bool parse_special,
                                                const ServedModel& model,
                                                const FieldChecker& check) {
  if (model.tokenizer == nullptr) return NoTokenizerError();
  RETURN_IF_ERROR(CheckTextBytes("text", text.size(), model, check));
  EncodeOptions options;
  options.add_special = add_special;
  options.parse_special = parse_special;
  return model.tokenizer->Encode(text, options);
}

absl::StatusOr<std::vector<TokenId>> ConvertPrompt(
    const v1::GenerateRequest& message, const ServedModel& model,
    const FieldChecker& check) {
  switch (message.prompt_case()) {
    case v1::GenerateRequest::kText:
      return EncodeText(message.text(), /*add_special=*/true,
                        message.parse_special(), model, check);
    case v1::GenerateRequest::kTokenIds:
      return ConvertTokenIds(message.token_ids().ids(), "token_ids.ids", model,
                             check);
    case v1::GenerateRequest::kChat:
      return EncodeConversation(message.chat(), model, check.Below("chat"));
    case v1::GenerateRequest::PROMPT_NOT_SET:
      break;
  }
  check.Fail("prompt", "is missing; set text, token_ids or chat");
  return std::vector<TokenId>();
}

size_t TextBytes(const v1::Conversation& conversation) {
  size_t bytes = 0;
  for (const v1::ChatMessage& message : conversation.messages()) {
    bytes += message.content().size();
  }
  return bytes;
}

size_t TextBytes(const v1::GenerateRequest& message) {
  switch (message.prompt_case()) {
    case v1::GenerateRequest::kText:
      return message.text().size();
    case v1::GenerateRequest::kChat:
      return TextBytes(message.chat());
    default:
      return 0;
  }
}

// For a prompt that is not there yet: of `token_ids` tokens, or of text.
AdmissionQuery QueryBeforePrompt(const Request& request,
                                 const ServedModel& model, int token_ids) {
  AdmissionQuery query = QueryFor(
      request,
      ResolveBits(request.precision, {model.seed_bits, model.max_bits}));
  query.prompt_tokens = token_ids;
  return query;
}

const char* PromptField(const v1::GenerateRequest& message) {
  switch (message.prompt_case()) {
    case v1::GenerateRequest::kText:
      return "text";
    case v1::GenerateRequest::kChat:
      return "chat";
    default:
      return "token_ids";
  }
}

// The answer's length limit, given what the prompt leaves of the context.
int ConvertMaxTokens(const v1::GenerateRequest& message, const Request& request,
                     const ServedModel& model, const FieldChecker& check) {
  const v1::StoppingCriteria& stopping = message.stopping();
  const int prompt_tokens = static_cast<int>(request.prompt.size());
  const int context = model.max_context_tokens;
  const int room = context - prompt_tokens;
  const int least = request.prompt_logprobs ? 0 : 1;
  if (stopping.has_max_tokens() && stopping.max_tokens() < least) {
    check.Fail("stopping.max_tokens",
               absl::StrCat("is ", stopping.max_tokens(), "; must be at least ",
                            least, " (0 with echo and logprobs)"));
    return 0;
  }
  const bool wants_answer =
      !stopping.has_max_tokens() || stopping.max_tokens() > 0;
  if (room < (wants_answer ? 1 : 0)) {
    check.Fail(
        PromptField(message),
        absl::StrCat("has ", prompt_tokens, " tokens; the context holds ",
                     context, wants_answer ? ", the answer included" : ""));
    return 0;
  }
  if (!stopping.has_max_tokens()) return room;
  if (stopping.max_tokens() > room) {
    check.Fail("stopping.max_tokens",
               absl::StrCat("is ", stopping.max_tokens(), "; a prompt of ",
                            prompt_tokens, " tokens leaves room for ", room,
                            " in a context of ", context));
  }
  return stopping.max_tokens();
}

absl::Time EarlierDeadline(absl::Time rpc_deadline, absl::Time now,
                           bool has_deadline_ms, double deadline_ms) {
  if (!has_deadline_ms) return rpc_deadline;
  return std::min(rpc_deadline, now + absl::Milliseconds(deadline_ms));
}

}  // namespace

absl::StatusOr<GenerationPlan> PlanGeneration(
    const v1::GenerateRequest& message, const ServedModel& model,
    absl::Time now, absl::Time rpc_deadline, absl::string_view field_prefix,
    AdmitFunction admit) {
  FieldViolations violations;
  const FieldChecker check(field_prefix, violations);
  GenerationPlan plan;
  Request& request = plan.request;
  request.sampling = ConvertSampling(message.sampling(), model,
                                     check.Below("sampling"), &plan.n);
  request.stopping =
      ConvertStopping(message.stopping(), model, check.Below("stopping"));
  request.precision =
      ConvertPrecision(message.precision(), model, check.Below("precision"));
  if (message.has_speculation()) {
    request.speculation =
        ConvertSpeculation(message.speculation(), request.precision, model,
                           check.Below("speculation"));
  }
  request.priority = message.precision().priority();
  check.InRange("precision.priority", request.priority, -kMaxPriority,
                kMaxPriority);
  request.deadline = EarlierDeadline(
      rpc_deadline, now, message.precision().slo().has_deadline_ms(),
      message.precision().slo().deadline_ms());
  plan.echo = message.echo();
  if (message.has_logprobs()) {
    check.InRange("logprobs", message.logprobs(), 0, kMaxLogprobs);
    request.top_logprobs = message.logprobs();
    request.prompt_logprobs = message.echo();
  }

  const int earlier_violations = violations.size();
  if (earlier_violations == 0) {
    RETURN_IF_ERROR(
        admit(QueryBeforePrompt(request, model, message.token_ids().ids_size()),
              TextBytes(message)));
  }
  ASSIGN_OR_RETURN(request.prompt, ConvertPrompt(message, model, check));
  if (request.prompt.empty() && violations.size() == earlier_violations) {
    check.Fail(PromptField(message), "is a prompt of no tokens");
  }
  request.stopping.max_tokens =
      ConvertMaxTokens(message, request, model, check);
  RETURN_IF_ERROR(violations.ToStatus());
  return plan;
}

absl::Status CheckUnarySize(const GenerationPlan& plan,
                            absl::string_view field_prefix) {
  // As they are encoded at most: a token with its text, and an alternative.
  constexpr int64_t kTokenBytes = 32;
  constexpr int64_t kAlternativeBytes = 14;
  const Request& request = plan.request;
  const int64_t per_token =
      kTokenBytes + kAlternativeBytes * request.top_logprobs.value_or(0);
  const int64_t tokens = int64_t{plan.n} * request.stopping.max_tokens;
  if (tokens * per_token <= kMaxUnaryBytes) return absl::OkStatus();
  FieldViolations violations;
  return FieldChecker(field_prefix, violations)
      .Refuse("stopping.max_tokens",
              absl::StrCat("allows ", tokens, " tokens in all, of up to ",
                           per_token, " bytes each; one message takes ",
                           kMaxUnaryBytes, " bytes. Lower it, n or logprobs, ",
                           "or use Generate"));
}

absl::StatusOr<ScorePlan> PlanScore(const v1::ScoreRequest& message,
                                    const ServedModel& model, absl::Time now,
                                    absl::Time rpc_deadline,
                                    AdmitFunction admit) {
  FieldViolations violations;
  const FieldChecker check("", violations);
  ScorePlan plan;
  Request& request = plan.request;
  request.stopping.max_tokens = 0;
  request.prompt_logprobs = true;

  request.precision.fixed_bits = model.max_bits;
  if (message.has_bits()) {
    check.InRange("bits", message.bits(), model.seed_bits, model.max_bits);
    request.precision.fixed_bits = message.bits();
  }
  if (message.has_deadline_ms()) {
    CheckMilliseconds("deadline_ms", message.deadline_ms(), check);
  }
  request.deadline = EarlierDeadline(
      rpc_deadline, now, message.has_deadline_ms(), message.deadline_ms());

  if (message.input_case() == v1::ScoreRequest::INPUT_NOT_SET) {
    check.Fail("input", "is missing; set text or token_ids");
    return violations.ToStatus();
  }
  const bool is_text = message.input_case() == v1::ScoreRequest::kText;
  if (violations.size() == 0) {
    RETURN_IF_ERROR(
        admit(QueryBeforePrompt(request, model, message.token_ids().ids_size()),
              message.text().size()));
  }
  if (is_text) {
    ASSIGN_OR_RETURN(request.prompt,
                     EncodeText(message.text(), /*add_special=*/true,
                                /*parse_special=*/false, model, check));
  } else {
    request.prompt = ConvertTokenIds(message.token_ids().ids(), "token_ids.ids",
                                     model, check);
  }
  const int tokens = static_cast<int>(request.prompt.size());
  if (tokens < 2 || tokens > model.max_context_tokens) {
    check.Fail(is_text ? "text" : "token_ids",
               absl::StrCat("has ", tokens, " tokens; must have 2 to ",
                            model.max_context_tokens));
  } else if (message.has_context_tokens()) {
    check.InRange("context_tokens", message.context_tokens(), 1, tokens - 1);
    plan.context_tokens = message.context_tokens();
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return plan;
}

absl::StatusOr<std::vector<TokenId>> ConvertTokenizeRequest(
    const v1::TokenizeRequest& message, const ServedModel& model) {
  FieldViolations violations;
  const FieldChecker check("", violations);
  std::vector<TokenId> ids;
  switch (message.input_case()) {
    case v1::TokenizeRequest::kText: {
      const bool add_special =
          !message.has_add_special() || message.add_special();
      return EncodeText(message.text(), add_special, message.parse_special(),
                        model, check);
    }
    case v1::TokenizeRequest::kChat: {
      ASSIGN_OR_RETURN(
          ids, EncodeConversation(message.chat(), model, check.Below("chat")));
      break;
    }
    case v1::TokenizeRequest::INPUT_NOT_SET:
      check.Fail("input", "is missing; set text or chat");
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return ids;
}

absl::StatusOr<std::string> ConvertDetokenizeRequest(
    const v1::DetokenizeRequest& message, const ServedModel& model) {
  if (model.tokenizer == nullptr) return NoTokenizerError();
  FieldViolations violations;
  const std::vector<TokenId> ids = ConvertTokenIds(
      message.ids(), "ids", model, FieldChecker("", violations));
  RETURN_IF_ERROR(violations.ToStatus());
  const bool skip_special =
      !message.has_skip_special() || message.skip_special();
  return model.tokenizer->Decode(ids, skip_special);
}

}  // namespace anyprec
