#include "server/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "runtime/engine/histogram.h"
#include "runtime/scheduler/admission.h"
#include "server/engine_metrics.h"
#include "server/status_conversion.h"

namespace anyprec {
namespace {

using CounterFamily = prometheus::Family<prometheus::Counter>;

// From the first token of a small model to the longest answer of a large one,
// in seconds; five bounds a decade leave an interpolated quantile within some
// 20 %.
const std::vector<double>& LatencyBounds() {
  static const auto* const bounds = new std::vector<double>{
      0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.075,
      0.1,   0.2,   0.3,   0.5,   0.75,   1,    2,    3,    5,    7.5,
      10,    20,    30,    50,    75,     100,  200,  300,  500};
  return *bounds;
}

prometheus::Histogram& AddHistogram(
    prometheus::Registry& registry, const char* name, const char* help,
    const std::vector<double>& bounds = LatencyBounds()) {
  return prometheus::BuildHistogram()
      .Name(name)
      .Help(help)
      .Register(registry)
      .Add({}, bounds);
}

CounterFamily& AddCounters(prometheus::Registry& registry, const char* name,
                           const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

void Observe(absl::Duration time, prometheus::Histogram& histogram) {
  histogram.Observe(absl::ToDoubleSeconds(time));
}

// The label's value.
const char* Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      break;
  }
  return "error";
}

}  // namespace

class Metrics::Families final : public prometheus::Collectable {
 public:
  Families();

  void Attach(const Engine* engine, const PrecisionLimits& loaded) {
    absl::MutexLock lock(&mutex_);
    engine_ = engine;
    loaded_ = loaded;
  }

  void ObserveFinish(const Request& request, const Finish& finish);

  void ObserveRefusal(const std::string& reason) {
    rejections_.Add({{"reason", reason}}).Increment();
  }

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  void CountSlo(const char* slo, bool attained) {
    slos_.Add({{"slo", slo}, {"attained", attained ? "true" : "false"}})
        .Increment();
  }
  void CountSlos(const Request& request, const Finish& finish);

  prometheus::Registry registry_;
  prometheus::Histogram& ttft_;
  prometheus::Histogram& tpot_;
  prometheus::Histogram& e2e_;
  prometheus::Histogram& queue_;
  prometheus::Histogram& prefill_;
  prometheus::Histogram& decode_;
  CounterFamily& finishes_;
  CounterFamily& rejections_;
  CounterFamily& slos_;

  mutable absl::Mutex mutex_;
  const Engine* engine_ ABSL_GUARDED_BY(mutex_) = nullptr;
  PrecisionLimits loaded_ ABSL_GUARDED_BY(mutex_);
};

Metrics::Families::Families()
    : ttft_(AddHistogram(registry_, "anyprec_time_to_first_token_seconds",
                         "From arrival to the first token.")),
      tpot_(AddHistogram(registry_,
                         "anyprec_request_time_per_output_token_seconds",
                         "Mean time per token after the first, of one answer.",
                         {InterTokenSecondsBounds().begin(),
                          InterTokenSecondsBounds().end()})),
      e2e_(AddHistogram(registry_, "anyprec_e2e_request_latency_seconds",
                        "From arrival to the end, however it came.")),
      queue_(AddHistogram(registry_, "anyprec_request_queue_time_seconds",
                          "From arrival to the first step.")),
      prefill_(AddHistogram(registry_, "anyprec_request_prefill_time_seconds",
                            "From the first step to the first token.")),
      decode_(
          AddHistogram(registry_, "anyprec_request_decode_time_seconds",
                       "From the first token to the end, however it came.")),
      finishes_(AddCounters(registry_, "anyprec_request_success_total",
                            "Requests that ended, by why they did.")),
      rejections_(AddCounters(registry_, "anyprec_admission_rejections_total",
                              "Requests that were not accepted.")),
      slos_(AddCounters(registry_, "anyprec_slo_attained_total",
                        "Requests that asked for a latency, by whether they "
                        "got it.")) {
  // There before they first move, as a rate needs.
  for (const FinishReason reason :
       {FinishReason::kStop, FinishReason::kLength, FinishReason::kDeadline,
        FinishReason::kCancelled, FinishReason::kError}) {
    finishes_.Add({{"finished_reason", Name(reason)}});
  }
  for (const absl::string_view reason : {kQueueFull, kPredictedLate}) {
    rejections_.Add({{"reason", absl::AsciiStrToLower(reason)}});
  }
  for (const char* slo : {"ttft", "tpot", "deadline"}) {
    for (const char* attained : {"true", "false"}) {
      slos_.Add({{"slo", slo}, {"attained", attained}});
    }
  }
}

void Metrics::Families::ObserveFinish(const Request& request,
                                      const Finish& finish) {
  const RequestStats& stats = finish.stats;
  finishes_.Add({{"finished_reason", Name(finish.reason)}}).Increment();
  Observe(stats.total, e2e_);
  Observe(stats.queue_time, queue_);
  if (stats.completion_tokens > 0) {
    Observe(stats.ttft, ttft_);
    Observe(stats.ttft - stats.queue_time, prefill_);
    Observe(stats.total - stats.ttft, decode_);
  }
  if (stats.completion_tokens > 1) Observe(stats.tpot, tpot_);
  // Who cancels waives what was asked for.
  if (finish.reason != FinishReason::kCancelled) CountSlos(request, finish);
}

void Metrics::Families::CountSlos(const Request& request,
                                  const Finish& finish) {
  const RequestStats& stats = finish.stats;
  const Slo& slo = request.precision.slo;
  if (slo.ttft.has_value()) {
    CountSlo("ttft", stats.completion_tokens > 0 && stats.ttft <= *slo.ttft);
  }
  if (slo.tpot.has_value() && stats.completion_tokens > 1) {
    CountSlo("tpot", stats.tpot <= *slo.tpot);
  }
  if (request.deadline != absl::InfiniteFuture()) {
    CountSlo("deadline", finish.reason == FinishReason::kStop ||
                             finish.reason == FinishReason::kLength);
  }
}

std::vector<prometheus::MetricFamily> Metrics::Families::Collect() const {
  std::vector<prometheus::MetricFamily> families = registry_.Collect();
  absl::MutexLock lock(&mutex_);
  if (engine_ == nullptr) return families;
  std::vector<prometheus::MetricFamily> more =
      EngineMetrics(engine_->Stats(), loaded_);
  families.insert(families.end(), std::make_move_iterator(more.begin()),
                  std::make_move_iterator(more.end()));
  return families;
}

Metrics::Metrics() : families_(std::make_shared<Families>()) {}

Metrics::~Metrics() = default;

void Metrics::AttachEngine(const Engine& engine,
                           const PrecisionLimits& loaded) {
  families_->Attach(&engine, loaded);
}

void Metrics::DetachEngine() { families_->Attach(nullptr, {}); }

void Metrics::ObserveFinish(const Request& request, const Finish& finish) {
  families_->ObserveFinish(request, finish);
}

void Metrics::ObserveRefusal(const absl::Status& status) {
  std::string reason = AttachedReason(status);
  if (reason.empty()) reason = absl::StatusCodeToString(status.code());
  families_->ObserveRefusal(absl::AsciiStrToLower(reason));
}

std::shared_ptr<prometheus::Collectable> Metrics::collectable() const {
  return families_;
}

}  // namespace anyprec
