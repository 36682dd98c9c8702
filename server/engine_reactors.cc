#include "server/engine_reactors.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "server/access_log.h"
#include "server/response_conversion.h"
#include "server/sample_streams.h"
#include "server/status_conversion.h"

namespace anyprec {
namespace {

// What the three reactors share. Shared ownership, because a task posted to the
// delivery thread may outlast the call: it holds a weak reference, and the call
// holds itself until OnDone().
template <typename GrpcReactor>
class EngineReactor
    : public GrpcReactor,
      public std::enable_shared_from_this<EngineReactor<GrpcReactor>> {
 public:
  EngineReactor(EngineCall call, const char* rpc)
      : call_(std::move(call)), rpc_(rpc) {}

  // Call once, right after construction.
  void Start() {
    self_ = this->shared_from_this();
    call_.streams->OnReady(
        [&delivery = call_.delivery, weak = this->weak_from_this()] {
          delivery.Post([weak] {
            if (const auto reactor = weak.lock()) reactor->Deliver();
          });
        });
  }

  void OnCancel() override { call_.streams->Cancel(); }
  void OnDone() override { self_.reset(); }

 protected:
  // Moves what is ready from streams() to the call. On the delivery thread.
  virtual void Deliver() = 0;

  SampleStreams& streams() { return *call_.streams; }
  const Request& request() const { return call_.request; }
  DeliveryThread& delivery() { return call_.delivery; }

  // The call's outcome, for gRPC, the log and the metrics. REQUIRES:
  // streams().done(); called once.
  grpc::Status Conclude() {
    for (const anyprec::Finish& finish : streams().finishes()) {
      call_.metrics.ObserveFinish(request(), finish);
    }
    LogAccess({request().id, rpc_, call_.traceparent}, streams().status(),
              streams().stats());
    return ToGrpcStatus(streams().status());
  }

  v1::GenerateResponse ToResponse(const SampleStreams::Output& output,
                                  bool echo) const {
    v1::GenerateResponse response = ToGenerateResponse(
        output.sample, output.chunk, request().top_logprobs.has_value());
    if (!output.first) return response;
    v1::PromptInfo* prompt = response.mutable_prompt();
    prompt->set_request_id(request().id);
    prompt->set_prompt_tokens(static_cast<int>(request().prompt.size()));
    prompt->set_seed(*request().sampling.seed +
                     static_cast<uint64_t>(output.sample));
    if (echo && output.sample == 0) {
      if (const Tokenizer* tokenizer = call_.model.tokenizer) {
        prompt->set_text(tokenizer->Decode(request().prompt,
                                           /*skip_special=*/false));
      }
      AppendPromptTokens(request().prompt, output.chunk.prompt_logprobs,
                         /*first_scored=*/1, *prompt->mutable_tokens());
    }
    return response;
  }

 private:
  EngineCall call_;
  const char* const rpc_;
  std::shared_ptr<EngineReactor> self_;  // until OnDone
};

// One message in flight at a time; meanwhile the engine's chunks merge.
class GenerateReactor final
    : public EngineReactor<grpc::ServerWriteReactor<v1::GenerateResponse>> {
 public:
  GenerateReactor(EngineCall call, bool echo)
      : EngineReactor(std::move(call), "Generate"), echo_(echo) {}

  void OnWriteDone(bool ok) override {
    if (!ok) streams().Cancel();
    delivery().Post([weak = weak_from_this()] {
      if (const auto reactor = weak.lock()) {
        static_cast<GenerateReactor&>(*reactor).ContinueAfterWrite();
      }
    });
  }

 protected:
  void Deliver() override {
    if (writing_ || finished_) return;
    while (std::optional<SampleStreams::Output> output = streams().TryNext()) {
      if (streams().cancelled()) continue;  // Nobody reads it.
      response_ = ToResponse(*output, echo_);
      if (streams().done()) {
        finished_ = true;
        StartWriteAndFinish(&response_, grpc::WriteOptions(), Conclude());
      } else {
        writing_ = true;
        StartWrite(&response_);
      }
      return;
    }
    if (streams().done()) {
      finished_ = true;
      Finish(Conclude());
    }
  }

 private:
  void ContinueAfterWrite() {
    writing_ = false;
    Deliver();
  }

  const bool echo_;
  bool writing_ = false;
  bool finished_ = false;
  v1::GenerateResponse response_;  // gRPC's while writing_
};

class GenerateUnaryReactor final
    : public EngineReactor<grpc::ServerUnaryReactor> {
 public:
  GenerateUnaryReactor(EngineCall call, bool echo,
                       v1::GenerateUnaryResponse* response)
      : EngineReactor(std::move(call), "GenerateUnary"),
        echo_(echo),
        response_(*response) {
    for (int i = 0; i < streams().size(); ++i) response_.add_samples();
  }

 protected:
  void Deliver() override {
    if (finished_) return;
    while (std::optional<SampleStreams::Output> output = streams().TryNext()) {
      AppendGenerateResponse(ToResponse(*output, echo_),
                             *response_.mutable_samples(output->sample));
    }
    if (streams().done()) {
      finished_ = true;
      Finish(Conclude());
    }
  }

 private:
  const bool echo_;
  bool finished_ = false;
  v1::GenerateUnaryResponse& response_;
};

class ScoreReactor final : public EngineReactor<grpc::ServerUnaryReactor> {
 public:
  ScoreReactor(EngineCall call, int context_tokens, v1::ScoreResponse* response)
      : EngineReactor(std::move(call), "Score"),
        context_tokens_(context_tokens),
        response_(*response) {}

 protected:
  void Deliver() override {
    if (finished_) return;
    while (std::optional<SampleStreams::Output> output = streams().TryNext()) {
      logprobs_.insert(logprobs_.end(), output->chunk.prompt_logprobs.begin(),
                       output->chunk.prompt_logprobs.end());
    }
    if (!streams().done()) return;
    finished_ = true;
    if (streams().status().ok()) {
      response_ = ToScoreResponse(request(), context_tokens_, logprobs_,
                                  streams().stats());
    }
    Finish(Conclude());
  }

 private:
  const int context_tokens_;
  bool finished_ = false;
  std::vector<float> logprobs_;
  v1::ScoreResponse& response_;
};

}  // namespace

grpc::ServerWriteReactor<v1::GenerateResponse>* NewGenerateReactor(
    EngineCall call, bool echo) {
  const auto reactor = std::make_shared<GenerateReactor>(std::move(call), echo);
  reactor->Start();
  return reactor.get();
}

grpc::ServerUnaryReactor* NewGenerateUnaryReactor(
    EngineCall call, bool echo, v1::GenerateUnaryResponse* response) {
  const auto reactor =
      std::make_shared<GenerateUnaryReactor>(std::move(call), echo, response);
  reactor->Start();
  return reactor.get();
}

grpc::ServerUnaryReactor* NewScoreReactor(EngineCall call, int context_tokens,
                                          v1::ScoreResponse* response) {
  const auto reactor =
      std::make_shared<ScoreReactor>(std::move(call), context_tokens, response);
  reactor->Start();
  return reactor.get();
}

}  // namespace anyprec
