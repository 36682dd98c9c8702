// anyprec.v1.InferenceService: translates, and leaves the work to the engine.
//
// Until Start() every RPC is answered with UNAVAILABLE, so that a server can
// take its port before it loads its model. Thread-safe.
#ifndef ANYPREC_SERVER_INFERENCE_SERVICE_H_
#define ANYPREC_SERVER_INFERENCE_SERVICE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "anyprec/v1/inference_service.grpc.pb.h"
#include "runtime/engine/engine.h"
#include "server/delivery_thread.h"
#include "server/engine_reactors.h"
#include "server/metrics.h"
#include "server/open_calls.h"
#include "server/prompt_estimate.h"
#include "server/served_model.h"

namespace anyprec {

class InferenceService final : public v1::InferenceService::CallbackService {
 public:
  struct Serving {
    Engine* engine = nullptr;  // outlives all calls
    ServedModel model;
    v1::GetModelResponse description;  // all but the state
  };

  // `metrics` must outlive this object.
  explicit InferenceService(Metrics& metrics) : metrics_(metrics) {}

  // REQUIRES: called once.
  void Start(Serving serving);

  // From now on refuses new work with UNAVAILABLE; what was accepted goes on.
  void StopTakingWork() { taking_work_ = false; }

  // Waits until the last message of every request has been sent, at most until
  // `deadline`.
  void AwaitCalls(absl::Time deadline) { open_calls_.AwaitNone(deadline); }

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context,
      const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* GenerateUnary(
      grpc::CallbackServerContext* context,
      const v1::GenerateUnaryRequest* request,
      v1::GenerateUnaryResponse* response) override;
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context,
                                  const v1::ScoreRequest* request,
                                  v1::ScoreResponse* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(
      grpc::CallbackServerContext* context,
      const v1::DetokenizeRequest* request,
      v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;

 private:
  // Whether work is taken at all.
  absl::Status CheckOpen() const;

  // OK, or why a request is not taken now. Decided before its prompt is
  // tokenized, so that refusing stays cheap under overload.
  absl::Status Admit(AdmissionQuery query, size_t text_bytes) const;
  template <typename PlanFunction>
  auto Plan(const PlanFunction& plan);
  absl::StatusOr<EngineCall> Submit(const grpc::CallbackServerContext& context,
                                    Request request, int samples);

  // What the RPCs of these names do, but for refusals.
  absl::StatusOr<grpc::ServerWriteReactor<v1::GenerateResponse>*> TryGenerate(
      const grpc::CallbackServerContext& context,
      const v1::GenerateRequest& request);
  absl::StatusOr<grpc::ServerUnaryReactor*> TryGenerateUnary(
      const grpc::CallbackServerContext& context,
      const v1::GenerateUnaryRequest& request,
      v1::GenerateUnaryResponse* response);
  absl::StatusOr<grpc::ServerUnaryReactor*> TryScore(
      const grpc::CallbackServerContext& context,
      const v1::ScoreRequest& request, v1::ScoreResponse* response);

  // Says in the log and to the client why a request did not reach the engine.
  grpc::Status Refuse(const grpc::CallbackServerContext& context,
                      const char* rpc, const absl::Status& status);
  std::string NewRequestId();

  Metrics& metrics_;
  OpenCalls open_calls_;
  DeliveryThread delivery_;
  PromptEstimate prompt_estimate_;
  std::unique_ptr<const Serving> serving_;  // set before ready_
  std::atomic<bool> ready_ = false;
  std::atomic<bool> taking_work_ = true;
  std::atomic<uint64_t> requests_ = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_INFERENCE_SERVICE_H_
