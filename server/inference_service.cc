#include "server/inference_service.h"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "server/access_log.h"
#include "server/field_violations.h"
#include "server/request_conversion.h"
#include "server/sample_streams.h"
#include "server/stats_conversion.h"
#include "server/status_conversion.h"
#include "server/trace_context.h"

namespace anyprec {
namespace {

// Where GenerateUnaryRequest keeps what Generate takes.
constexpr char kUnaryPrefix[] = "generation.";

absl::Time RpcDeadline(const grpc::CallbackServerContext& context) {
  // gRPC's "never" is a year like any other to absl.
  return context.deadline() == std::chrono::system_clock::time_point::max()
             ? absl::InfiniteFuture()
             : absl::FromChrono(context.deadline());
}

absl::Status Loading() {
  return absl::UnavailableError("the server is loading its model");
}

// For a refusal of the engine: with RetryInfo and ErrorInfo.
absl::Status ToRefusal(absl::Status status) {
  if (const std::optional<Refusal> refusal = RefusalOf(status)) {
    AttachRetry(refusal->retry_after, refusal->reason, status);
  }
  return status;
}

// What conversion does not check. The engine's message starts with the field of
// its Request.
absl::Status EngineViolation(const absl::Status& status) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(status.message(), absl::MaxSplits(": ", 1));
  FieldViolations violations;
  violations.Add(parts.first, parts.second);
  return violations.ToStatus();
}

// Ends a call before it began.
class RefusedStream final
    : public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  explicit RefusedStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

grpc::ServerUnaryReactor* FinishUnary(grpc::CallbackServerContext* context,
                                      const grpc::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

}  // namespace

void InferenceService::Start(Serving serving) {
  ANYPREC_CHECK(!ready_) << "started twice";
  serving_ = std::make_unique<const Serving>(std::move(serving));
  ready_ = true;
}

absl::Status InferenceService::CheckOpen() const {
  if (!ready_) return Loading();
  if (taking_work_) return absl::OkStatus();
  return absl::UnavailableError("the server is shutting down");
}

absl::Status InferenceService::Admit(AdmissionQuery query,
                                     size_t text_bytes) const {
  query.prompt_tokens += prompt_estimate_.Tokens(text_bytes);
  return ToRefusal(serving_->engine->Admit(query));
}

// What `plan` makes of a request, given what admits it.
template <typename PlanFunction>
auto InferenceService::Plan(const PlanFunction& plan) {
  size_t bytes = 0;
  auto made = plan([&](const AdmissionQuery& query, size_t text_bytes) {
    bytes = text_bytes;
    return Admit(query, text_bytes);
  });
  if (made.ok()) prompt_estimate_.Learn(bytes, made->request.prompt.size());
  return made;
}

absl::StatusOr<EngineCall> InferenceService::Submit(
    const grpc::CallbackServerContext& context, Request request, int samples) {
  request.id = NewRequestId();
  if (!request.sampling.seed.has_value()) {
    request.sampling.seed = absl::Uniform<uint64_t>(absl::BitGen());
  }
  auto streams = SampleStreams::Submit(request, samples, *serving_->engine);
  if (absl::IsResourceExhausted(streams.status())) {
    return ToRefusal(streams.status());
  }
  if (absl::IsInvalidArgument(streams.status())) {
    return EngineViolation(streams.status());
  }
  RETURN_IF_ERROR(streams.status());
  return EngineCall{.request = std::move(request),
                    .traceparent = TraceParentOf(context),
                    .streams = *std::move(streams),
                    .model = serving_->model,
                    .delivery = delivery_,
                    .metrics = metrics_,
                    .open = open_calls_.Enter()};
}

absl::StatusOr<grpc::ServerWriteReactor<v1::GenerateResponse>*>
InferenceService::TryGenerate(const grpc::CallbackServerContext& context,
                              const v1::GenerateRequest& request) {
  RETURN_IF_ERROR(CheckOpen());
  ASSIGN_OR_RETURN(GenerationPlan plan, Plan([&](AdmitFunction admit) {
                     return PlanGeneration(request, serving_->model,
                                           absl::Now(), RpcDeadline(context),
                                           /*field_prefix=*/"", admit);
                   }));
  ASSIGN_OR_RETURN(EngineCall call,
                   Submit(context, std::move(plan.request), plan.n));
  return NewGenerateReactor(std::move(call), plan.echo);
}

absl::StatusOr<grpc::ServerUnaryReactor*> InferenceService::TryGenerateUnary(
    const grpc::CallbackServerContext& context,
    const v1::GenerateUnaryRequest& request,
    v1::GenerateUnaryResponse* response) {
  RETURN_IF_ERROR(CheckOpen());
  ASSIGN_OR_RETURN(GenerationPlan plan, Plan([&](AdmitFunction admit) {
                     return PlanGeneration(
                         request.generation(), serving_->model, absl::Now(),
                         RpcDeadline(context), kUnaryPrefix, admit);
                   }));
  RETURN_IF_ERROR(CheckUnarySize(plan, kUnaryPrefix));
  ASSIGN_OR_RETURN(EngineCall call,
                   Submit(context, std::move(plan.request), plan.n));
  return NewGenerateUnaryReactor(std::move(call), plan.echo, response);
}

absl::StatusOr<grpc::ServerUnaryReactor*> InferenceService::TryScore(
    const grpc::CallbackServerContext& context, const v1::ScoreRequest& request,
    v1::ScoreResponse* response) {
  RETURN_IF_ERROR(CheckOpen());
  ASSIGN_OR_RETURN(ScorePlan plan, Plan([&](AdmitFunction admit) {
                     return PlanScore(request, serving_->model, absl::Now(),
                                      RpcDeadline(context), admit);
                   }));
  ASSIGN_OR_RETURN(EngineCall call,
                   Submit(context, std::move(plan.request), 1));
  return NewScoreReactor(std::move(call), plan.context_tokens, response);
}

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  const auto reactor = TryGenerate(*context, *request);
  if (reactor.ok()) return *reactor;
  return new RefusedStream(Refuse(*context, "Generate", reactor.status()));
}

grpc::ServerUnaryReactor* InferenceService::GenerateUnary(
    grpc::CallbackServerContext* context,
    const v1::GenerateUnaryRequest* request,
    v1::GenerateUnaryResponse* response) {
  const auto reactor = TryGenerateUnary(*context, *request, response);
  if (reactor.ok()) return *reactor;
  return FinishUnary(context,
                     Refuse(*context, "GenerateUnary", reactor.status()));
}

grpc::ServerUnaryReactor* InferenceService::Score(
    grpc::CallbackServerContext* context, const v1::ScoreRequest* request,
    v1::ScoreResponse* response) {
  const auto reactor = TryScore(*context, *request, response);
  if (reactor.ok()) return *reactor;
  return FinishUnary(context, Refuse(*context, "Score", reactor.status()));
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(
    grpc::CallbackServerContext* context, const v1::TokenizeRequest* request,
    v1::TokenizeResponse* response) {
  absl::StatusOr<std::vector<TokenId>> ids = Loading();
  if (ready_) ids = ConvertTokenizeRequest(*request, serving_->model);
  if (ids.ok()) response->mutable_ids()->Assign(ids->begin(), ids->end());
  return FinishUnary(context, ToGrpcStatus(ids.status()));
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(
    grpc::CallbackServerContext* context, const v1::DetokenizeRequest* request,
    v1::DetokenizeResponse* response) {
  absl::StatusOr<std::string> text = Loading();
  if (ready_) text = ConvertDetokenizeRequest(*request, serving_->model);
  if (text.ok()) response->set_text(*text);
  return FinishUnary(context, ToGrpcStatus(text.status()));
}

grpc::ServerUnaryReactor* InferenceService::GetModel(
    grpc::CallbackServerContext* context, const v1::GetModelRequest*,
    v1::GetModelResponse* response) {
  if (!ready_) return FinishUnary(context, ToGrpcStatus(Loading()));
  *response = serving_->description;
  *response->mutable_state() = ToServerState(serving_->engine->Stats());
  return FinishUnary(context, grpc::Status::OK);
}

grpc::Status InferenceService::Refuse(
    const grpc::CallbackServerContext& context, const char* rpc,
    const absl::Status& status) {
  metrics_.ObserveRefusal(status);
  const std::string id = NewRequestId();
  const std::string traceparent = TraceParentOf(context);
  LogAccess({id, rpc, traceparent}, status, RequestStats());
  return ToGrpcStatus(status);
}

std::string InferenceService::NewRequestId() {
  return absl::StrCat("r", ++requests_);
}

}  // namespace anyprec
