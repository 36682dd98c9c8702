#include "server/request_conversion.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "server/field_checker.h"
#include "server/field_violations.h"
#include "server/parameter_conversion.h"
#include "server/prompt_conversion.h"

namespace anyprec {
namespace {

// As the .proto files document them.
constexpr int kMaxLogprobs = 20;
constexpr int kMaxPriority = 100;

// gRPC's limit for a message, which clients keep unless told otherwise.
constexpr int64_t kMaxUnaryBytes = int64_t{4} << 20;

// For a prompt that is not there yet: of `token_ids` tokens, or of text.
AdmissionQuery QueryBeforePrompt(const Request& request,
                                 const ServedModel& model, int token_ids) {
  AdmissionQuery query = QueryFor(
      request,
      ResolveBits(request.precision, {model.seed_bits, model.max_bits}));
  query.prompt_tokens = token_ids;
  return query;
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
