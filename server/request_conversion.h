// API messages to the runtime's requests: validates every field, encodes
// prompts, fills in defaults.
//
// Pure functions of their arguments; thread-safe. Errors are INVALID_ARGUMENT
// with a field violation for each wrong field, and FAILED_PRECONDITION where
// the model lacks a tokenizer or a chat template.
#ifndef ANYPREC_SERVER_REQUEST_CONVERSION_H_
#define ANYPREC_SERVER_REQUEST_CONVERSION_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "anyprec/v1/inference_service.pb.h"
#include "runtime/scheduler/admission.h"
#include "runtime/scheduler/request.h"
#include "runtime/tokenizer/tokenizer.h"
#include "server/served_model.h"

namespace anyprec {

// Sample i of n is `request` with seed + i.
struct GenerationPlan {
  Request request;  // `id` is left to the caller, and `seed` if not given
  int n = 1;
  bool echo = false;
};

struct ScorePlan {
  Request request;
  int context_tokens = 1;  // not scored
};

// Called once, when all but the prompt was read and is right, and before a text
// is tokenized: `query` lacks prompt_tokens where the prompt is `text_bytes` of
// text. What is not OK ends the conversion.
using AdmitFunction = absl::FunctionRef<absl::Status(
    const AdmissionQuery& query, size_t text_bytes)>;

// `now` is the request's arrival and `rpc_deadline` gRPC's own. Violations name
// fields as `field_prefix` + path ("", or "generation." where the message is
// nested).
absl::StatusOr<GenerationPlan> PlanGeneration(
    const v1::GenerateRequest& message, const ServedModel& model,
    absl::Time now, absl::Time rpc_deadline, absl::string_view field_prefix,
    AdmitFunction admit);

// INVALID_ARGUMENT where the whole answer may not fit into one message.
absl::Status CheckUnarySize(const GenerationPlan& plan,
                            absl::string_view field_prefix);

absl::StatusOr<ScorePlan> PlanScore(const v1::ScoreRequest& message,
                                    const ServedModel& model, absl::Time now,
                                    absl::Time rpc_deadline,
                                    AdmitFunction admit);

absl::StatusOr<std::vector<TokenId>> ConvertTokenizeRequest(
    const v1::TokenizeRequest& message, const ServedModel& model);

// The text of the ids.
absl::StatusOr<std::string> ConvertDetokenizeRequest(
    const v1::DetokenizeRequest& message, const ServedModel& model);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_REQUEST_CONVERSION_H_
