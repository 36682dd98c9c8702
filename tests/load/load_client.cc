#include "tests/load/load_client.h"

#include <chrono>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "anyprec/v1/inference_service.grpc.pb.h"
#include "kernels/status_macros.h"
#include "tests/load/connection_pool.h"
#include "tests/load/load_run.h"

namespace anyprec::load {
namespace {

class LoadClient final : public LoadDriver {
 public:
  LoadClient(LoadClientOptions options, std::vector<RequestClass> classes)
      : options_(std::move(options)),
        classes_(std::move(classes)),
        connections_(options_.target) {}

  absl::Status Connect() {
    RETURN_IF_ERROR(
        connections_.Connect(options_.connections, options_.connect_timeout));
    return ReadModel();
  }

  const TargetModel& model() const override { return model_; }

  std::vector<RequestRecord> Replay(
      std::span<const PlannedRequest> plan) override {
    LoadRun run(options_.drain_timeout, classes_, model_, connections_,
                counters_);
    for (const PlannedRequest& planned : plan) {
      const std::shared_ptr<Call> call = run.Prepare(planned);
      run.WaitUntil(planned.at);
      run.Send(call);
    }
    return run.Finish();
  }

  std::vector<RequestRecord> KeepBusy(int concurrency, absl::Duration duration,
                                      RequestPlanner& planner) override {
    LoadRun run(options_.drain_timeout, classes_, model_, connections_,
                counters_);
    while (run.WaitForFewerThan(concurrency, duration) &&
           run.Now() < duration) {
      run.Send(run.Prepare(planner.Next(run.Now())));
    }
    return run.Finish();
  }

  LoadProgress progress() const override {
    LoadProgress progress;
    const int64_t now_ns =
        std::chrono::steady_clock::now().time_since_epoch().count();
    progress.elapsed = absl::Nanoseconds(now_ns - counters_.start_ns);
    progress.sent = counters_.sent;
    progress.in_flight = progress.sent - counters_.done;
    progress.answered = counters_.answered;
    progress.refused = counters_.refused;
    progress.failed = counters_.failed;
    progress.cancelled = counters_.cancelled;
    progress.tokens = counters_.tokens;
    progress.token_bits = counters_.token_bits;
    return progress;
  }

 private:
  absl::Status ReadModel() {
    grpc::ClientContext context;
    context.set_deadline(
        absl::ToChronoTime(absl::Now() + options_.connect_timeout));
    v1::GetModelResponse response;
    Connection* connection = connections_.Take();
    const grpc::Status status =
        connection->stub->GetModel(&context, {}, &response);
    connections_.Release(connection);
    if (!status.ok()) {
      return absl::Status(
          static_cast<absl::StatusCode>(status.error_code()),
          absl::StrCat(options_.target, ": ", status.error_message()));
    }
    model_.name = response.model().name();
    model_.backend = response.backend();
    model_.version = response.server_version();
    model_.vocab_size = response.model().shape().vocab_size();
    model_.max_context_tokens = response.model().max_context_tokens();
    for (const v1::PrecisionInfo& one : response.model().precisions()) {
      model_.bits.push_back(one.bits());
    }
    if (model_.vocab_size < 1 || model_.max_context_tokens < 2) {
      return absl::FailedPreconditionError(
          absl::StrCat(options_.target, ": GetModel says vocabulary ",
                       model_.vocab_size, " and context ",
                       model_.max_context_tokens, "; needs at least 1 and 2"));
    }
    return absl::OkStatus();
  }

  const LoadClientOptions options_;
  const std::vector<RequestClass> classes_;
  TargetModel model_;
  ConnectionPool connections_;
  LoadCounters counters_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LoadDriver>> NewLoadClient(
    const LoadClientOptions& options, std::vector<RequestClass> classes) {
  auto client = std::make_unique<LoadClient>(options, std::move(classes));
  RETURN_IF_ERROR(client->Connect());
  return std::unique_ptr<LoadDriver>(std::move(client));
}

}  // namespace anyprec::load
