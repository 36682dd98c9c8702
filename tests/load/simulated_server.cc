#include "tests/load/simulated_server.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "runtime/kv/block_pool.h"
#include "runtime/scheduler/admission_control.h"
#include "runtime/scheduler/scheduler.h"

namespace anyprec::load {
namespace {

constexpr int kBlockTokens = 16;
// How old the costs may be that admission predicts by, as in the engine.
constexpr absl::Duration kCostsAge = absl::Milliseconds(200);

// Virtual time begins here.
const absl::Time kStart = absl::UnixEpoch();

Request ToRequest(const PlannedRequest& planned, const RequestClass& one,
                  absl::Time now) {
  Request request;
  request.prompt.resize(planned.prompt_tokens, 0);
  request.stopping.max_tokens = planned.output_tokens;
  request.stopping.ignore_eos = true;
  request.precision.fixed_bits = one.fixed_bits;
  request.precision.min_bits = one.min_bits;
  request.precision.max_bits = one.max_bits;
  Slo& slo = request.precision.slo;
  if (one.ttft_ms.has_value()) slo.ttft = absl::Milliseconds(*one.ttft_ms);
  if (one.tpot_ms.has_value()) slo.tpot = absl::Milliseconds(*one.tpot_ms);
  if (one.deadline_ms.has_value()) {
    request.deadline = now + absl::Milliseconds(*one.deadline_ms);
  }
  request.priority = one.priority;
  return request;
}

// One run. Everything happens on the thread that calls Run().
class Simulation {
 public:
  Simulation(const SimulationOptions& options,
             const std::vector<RequestClass>& classes,
             std::deque<PlannedRequest> arrivals)
      : options_(options),
        classes_(classes),
        arrivals_(std::move(arrivals)),
        costs_(options.table.costs),
        pool_(options.table.kv_tokens / kBlockTokens, kBlockTokens),
        scheduler_({.max_sequences = options.max_sequences,
                    .prefill_chunk_tokens = options.prefill_chunk,
                    // Of prompts we know the lengths alone.
                    .prefix_cache = false,
                    .policy = options.policy},
                   pool_, costs_),
        admission_({.max_requests =
                        options.max_sequences + options.max_queued_requests,
                    .max_queue_time = options.max_queue_time,
                    .policy = options.policy}) {
    limits_ = {options.table.min_bits, options.table.max_bits};
    scheduler_.SetLimits(limits_);
    Publish();
  }

  // Closed loop: who ends before `until` is followed by another.
  void FollowUntil(absl::Duration until, RequestPlanner& planner) {
    until_ = kStart + until;
    planner_ = &planner;
  }

  template <typename OnStep>
  std::vector<RequestRecord> Run(const OnStep& on_step) {
    while (!arrivals_.empty() || !live_.empty()) {
      if (live_.empty()) now_ = std::max(now_, ArrivalOf(arrivals_.front()));
      Arrive();
      Interrupt();
      if (!live_.empty()) Step();
      on_step(progress_);
    }
    ANYPREC_CHECK(pool_.num_free() == pool_.num_blocks())
        << pool_.num_held() << " blocks are held at the end";
    return std::move(records_);
  }

 private:
  struct Live {
    std::unique_ptr<Sequence> sequence;
    size_t record = 0;
    std::optional<absl::Time> cancel_at;
  };
  using LiveMap = std::unordered_map<uint64_t, Live>;

  absl::Time ArrivalOf(const PlannedRequest& planned) const {
    return kStart + planned.at + options_.network;
  }

  void Arrive() {
    while (!arrivals_.empty() && ArrivalOf(arrivals_.front()) <= now_) {
      Submit(arrivals_.front());
      arrivals_.pop_front();
    }
  }

  void Submit(const PlannedRequest& planned) {
    const RequestClass& one = classes_.at(planned.class_index);
    const absl::Time now = ArrivalOf(planned);
    RequestRecord& record = records_.emplace_back();
    record.class_index = planned.class_index;
    record.prompt_tokens = planned.prompt_tokens;
    record.planned_output_tokens = planned.output_tokens;
    record.floor_bits = one.floor_bits();
    record.planned_at = planned.at;
    record.sent_at = planned.at;
    ++progress_.sent;
    Request request = ToRequest(planned, one, now);
    const AdmissionQuery query = QueryFor(
        request, ResolveBits(request.precision, {options_.table.min_bits,
                                                 options_.table.max_bits}));
    absl::Status status =
        scheduler_.CheckFits(planned.prompt_tokens, planned.output_tokens);
    if (status.ok()) {
      status =
          admission_.Check(query, static_cast<int>(live_.size()), limits_, now);
    }
    if (!status.ok()) {
      Refuse(status, now, record);
      return;
    }
    admission_.Accept(query, limits_, now);
    Live live;
    live.sequence = std::make_unique<Sequence>(
        next_id_, std::move(request), query.min_bits, query.max_bits, now);
    live.record = records_.size() - 1;
    if (planned.cancel_after.has_value()) {
      live.cancel_at = kStart + planned.at + *planned.cancel_after;
    }
    scheduler_.Add(live.sequence.get());
    live_.emplace(next_id_++, std::move(live));
    ++progress_.in_flight;
  }

  void Refuse(const absl::Status& status, absl::Time now,
              RequestRecord& record) {
    record.outcome = Outcome::kRefused;
    record.finished_at = now - kStart + options_.network;
    record.message = std::string(status.message());
    record.reason = "RESOURCE_EXHAUSTED";
    if (const std::optional<Refusal> refusal = RefusalOf(status)) {
      record.reason = refusal->reason;
      record.retry_delay = refusal->retry_after;
    }
    ++progress_.refused;
    Follow();
  }

  void Interrupt() {
    for (auto it = live_.begin(); it != live_.end();) {
      const auto current = it++;
      const Live& live = current->second;
      if (live.sequence->request.deadline <= now_) {
        ++progress_.failed;
        End(current, Outcome::kDeadline, "DEADLINE_EXCEEDED");
      } else if (live.cancel_at.has_value() && *live.cancel_at <= now_) {
        ++progress_.cancelled;
        End(current, Outcome::kCancelled, "CANCELLED");
      }
    }
  }

  void Step() {
    admission_.TakeIn();
    scheduler_.SetPressure(admission_.Pressure(now_));
    const StepPlan plan = scheduler_.Schedule(now_);
    ANYPREC_CHECK(!plan.empty()) << live_.size() << " requests are stuck";
    const std::vector<RowCount> work = RowCounts(plan);
    const absl::Duration time = options_.table.costs.Predict(work);
    now_ += time;
    std::vector<NewTokens> sampled;
    for (const SequenceStep& step : plan.steps) {
      if (step.samples) sampled.push_back(NewTokens(1, 0));
    }
    scheduler_.Commit(plan, sampled, now_);
    for (const SequenceStep& step : plan.steps) {
      if (step.samples) TakeToken(step);
    }
    costs_.Observe(work, time);
    Publish();
    progress_.elapsed = now_ - kStart;
  }

  void TakeToken(const SequenceStep& step) {
    const auto found = live_.find(step.sequence->id);
    RequestRecord& record = records_[found->second.record];
    TokenArrival& token = record.tokens.emplace_back();
    token.since_planned_us =
        record.SincePlanned(now_ - kStart + options_.network);
    token.bits = static_cast<uint8_t>(step.bits);
    ++progress_.tokens;
    progress_.token_bits += step.bits;
    if (step.sequence->generated() < record.planned_output_tokens) return;
    ++progress_.answered;
    End(found, Outcome::kOk, "");
  }

  void End(LiveMap::iterator ended, Outcome outcome,
           const std::string& reason) {
    RequestRecord& record = records_[ended->second.record];
    record.outcome = outcome;
    record.reason = reason;
    record.finished_at = now_ - kStart + options_.network;
    const BitsHistogram prompt = ended->second.sequence->PromptTokensByBits();
    for (size_t bits = 0; bits < prompt.size(); ++bits) {
      record.prompt_bits.Add(static_cast<int>(bits), prompt[bits]);
    }
    record.bits_confirmed = true;
    scheduler_.Remove(ended->second.sequence.get());
    live_.erase(ended);
    --progress_.in_flight;
    Follow();
  }

  void Follow() {
    if (planner_ == nullptr || now_ >= until_) return;
    arrivals_.push_back(planner_->Next(now_ - kStart));
  }

  void Publish() {
    std::shared_ptr<const StepCostModel> costs;
    if (now_ - costs_time_ >= kCostsAge) {
      costs = std::make_shared<const StepCostModel>(costs_);
      costs_time_ = now_;
    }
    admission_.Publish(scheduler_.Snapshot(), std::move(costs));
  }

  const SimulationOptions& options_;
  const std::vector<RequestClass>& classes_;
  std::deque<PlannedRequest> arrivals_;
  RequestPlanner* planner_ = nullptr;
  absl::Time until_;

  absl::Time now_ = kStart;
  absl::Time costs_time_ = absl::InfinitePast();
  StepCostModel costs_;  // what the scheduler believes
  BlockPool pool_;
  Scheduler scheduler_;
  AdmissionControl admission_;
  PrecisionLimits limits_;
  uint64_t next_id_ = 1;
  LiveMap live_;
  std::vector<RequestRecord> records_;
  LoadProgress progress_;
};

class SimulatedServer final : public LoadDriver {
 public:
  SimulatedServer(const SimulationOptions& options,
                  std::vector<RequestClass> classes)
      : options_(options), classes_(std::move(classes)) {
    model_.name = options.table.name;
    model_.backend = "simulation";
    model_.vocab_size = 1;
    model_.max_context_tokens = options.max_context;
    for (int bits = options.table.min_bits; bits <= options.table.max_bits;
         ++bits) {
      model_.bits.push_back(bits);
    }
  }

  const TargetModel& model() const override { return model_; }

  std::vector<RequestRecord> Replay(
      std::span<const PlannedRequest> plan) override {
    Simulation simulation(options_, classes_, {plan.begin(), plan.end()});
    return Run(simulation);
  }

  std::vector<RequestRecord> KeepBusy(int concurrency, absl::Duration duration,
                                      RequestPlanner& planner) override {
    std::deque<PlannedRequest> first;
    for (int i = 0; i < concurrency; ++i) {
      first.push_back(planner.Next(absl::ZeroDuration()));
    }
    Simulation simulation(options_, classes_, std::move(first));
    simulation.FollowUntil(duration, planner);
    return Run(simulation);
  }

  LoadProgress progress() const override {
    const std::lock_guard lock(mutex_);
    return progress_;
  }

 private:
  std::vector<RequestRecord> Run(Simulation& simulation) {
    return simulation.Run([this](const LoadProgress& progress) {
      const std::lock_guard lock(mutex_);
      progress_ = progress;
    });
  }

  const SimulationOptions options_;
  const std::vector<RequestClass> classes_;
  TargetModel model_;
  mutable std::mutex mutex_;
  LoadProgress progress_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LoadDriver>> NewSimulatedServer(
    const SimulationOptions& options, std::vector<RequestClass> classes) {
  const StepCostTable& table = options.table;
  if (options.policy.kind == PrecisionPolicy::Kind::kFixed &&
      (options.policy.bits < table.min_bits ||
       options.policy.bits > table.max_bits)) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy: ", ToString(options.policy), ", ", table.name,
                     " has ", table.min_bits, " to ", table.max_bits, " bits"));
  }
  return std::make_unique<SimulatedServer>(options, std::move(classes));
}

}  // namespace anyprec::load
