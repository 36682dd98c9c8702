#include "runtime/engine/engine_loop.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/scheduler/draft_windows.h"

namespace anyprec {
namespace {

absl::Status CheckDeadline(absl::Time deadline, absl::Time now) {
  if (deadline > now) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat(
      "deadline: ", absl::FormatTime(deadline), ", needs a time to come"));
}

}  // namespace

EngineLoop::EngineLoop(const EngineLoopOptions& options,
                       std::unique_ptr<ModelRunner> runner,
                       const Tokenizer* tokenizer, StepCostModel costs)
    : options_(options),
      tokenizer_(tokenizer),
      runner_(std::move(runner)),
      costs_(std::move(costs)),
      pool_(options.kv_blocks, options.kv_block_tokens),
      scheduler_(options.scheduler, pool_, costs_),
      precision_limits_({options.limits.min_bits, options.limits.max_bits}),
      admission_({.max_requests = options.scheduler.max_sequences +
                                  options.max_queued_requests,
                  .max_queue_time = options.max_queue_time,
                  .policy = options.scheduler.policy}) {
  scheduler_.SetLimits(precision_limits_);
  Publish();
  thread_ = std::thread([this] { Run(); });
}

EngineLoop::~EngineLoop() {
  Drain(absl::InfinitePast());
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  thread_.join();
}

// Whether work is taken at all.
absl::Status EngineLoop::CheckOpen() const {
  RETURN_IF_ERROR(health_);
  if (draining_) return absl::UnavailableError("the engine is draining");
  return absl::OkStatus();
}

absl::Status EngineLoop::Admit(const AdmissionQuery& query) {
  const absl::Time now = absl::Now();
  RETURN_IF_ERROR(CheckDeadline(query.deadline, now));
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(CheckOpen());
  return admission_.Check(query, in_flight_, precision_limits_, now);
}

absl::StatusOr<std::unique_ptr<ResponseStream>> EngineLoop::Submit(
    Request request) {
  RETURN_IF_ERROR(ValidateRequest(request, options_.limits));
  RETURN_IF_ERROR(scheduler_.CheckFits(static_cast<int>(request.prompt.size()),
                                       request.stopping.max_tokens));
  const absl::Time now = absl::Now();
  RETURN_IF_ERROR(CheckDeadline(request.deadline, now));
  const BitsRange bits = ResolveBits(
      request.precision, {options_.limits.min_bits, options_.limits.max_bits});
  const AdmissionQuery query = QueryFor(request, bits);
  uint64_t id;
  uint64_t seed;
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(CheckOpen());
    RETURN_IF_ERROR(
        admission_.Check(query, in_flight_, precision_limits_, now));
    ++in_flight_;
    id = next_id_++;
    seed = absl::Uniform<uint64_t>(seeds_);
  }
  auto generation = std::make_unique<Generation>(
      id, std::move(request), bits, seed, options_.limits, tokenizer_, now);
  std::unique_ptr<ResponseStream> stream =
      MakeResponseStream(generation->output());
  {
    const std::lock_guard lock(mutex_);
    incoming_.push_back(std::move(generation));
    admission_.Accept(query, precision_limits_, now);
  }
  work_.notify_all();
  return stream;
}

absl::Status EngineLoop::SetPrecisionLimits(const PrecisionLimits& limits) {
  const int low = options_.limits.min_bits;
  const int high = options_.limits.max_bits;
  if (limits.min_bits < low || limits.max_bits > high ||
      limits.min_bits > limits.max_bits) {
    return absl::InvalidArgumentError(absl::StrCat(
        "precision limits: [", limits.min_bits, ", ", limits.max_bits,
        "], needs a range within [", low, ", ", high, "]"));
  }
  const std::lock_guard lock(mutex_);
  precision_limits_ = limits;
  // An idle loop publishes nothing.
  stats_.precision_limits = limits;
  return absl::OkStatus();
}

EngineStats EngineLoop::Stats() const {
  const absl::Time now = absl::Now();
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  // It wears off while the loop sleeps, too.
  stats.load_pressure = admission_.Pressure(now);
  return stats;
}

absl::Status EngineLoop::Health() const {
  const std::lock_guard lock(mutex_);
  return health_;
}

void EngineLoop::Drain(absl::Time deadline) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  const auto idle = [this] { return Idle(); };
  if (deadline == absl::InfiniteFuture()) {
    ended_all_.wait(lock, idle);
  } else {
    ended_all_.wait_until(lock, absl::ToChronoTime(deadline), idle);
  }
  cancel_requested_ = true;
  ended_all_.wait(lock, idle);
}

void EngineLoop::Run() {
  while (WaitForWork()) {
    EndInterrupted(absl::Now());
    if (!generations_.empty()) Step();
    Publish();
  }
}

// Takes in what was submitted, sleeping while there is nothing at all to do.
// Returns false when the loop is to end.
bool EngineLoop::WaitForWork() {
  if (generations_.empty()) Sleep();
  std::vector<std::unique_ptr<Generation>> incoming;
  absl::Status health;
  {
    const std::lock_guard lock(mutex_);
    if (generations_.empty() && stopping_) return false;
    incoming.swap(incoming_);
    cancel_all_ = cancel_requested_;
    health = health_;
    scheduler_.SetLimits(precision_limits_);
    scheduler_.SetPressure(admission_.Pressure(absl::Now()));
    admission_.TakeIn();
  }
  for (std::unique_ptr<Generation>& generation : incoming) {
    Sequence& sequence = generation->sequence();
    generations_[sequence.id] = std::move(generation);
    scheduler_.Add(&sequence);
  }
  if (!health.ok()) HandleFailure(health);
  return true;
}

// Until there is something to do.
void EngineLoop::Sleep() {
  std::unique_lock lock(mutex_);
  const auto has_work = [this] { return HasWork(); };
  const absl::Time stale = absl::Now() + options_.recent_costs_age;
  if (work_.wait_until(lock, absl::ToChronoTime(stale), has_work)) return;
  lock.unlock();
  costs_.ForgetRecent();
  Publish();
  lock.lock();
  work_.wait(lock, has_work);
}

void EngineLoop::EndInterrupted(absl::Time now) {
  for (auto it = generations_.begin(); it != generations_.end();) {
    const auto current = it++;
    Generation& generation = *current->second;
    if (const auto reason = generation.Interrupted(now)) {
      generation.Finish(*reason, StatusOf(*reason), now);
    } else if (cancel_all_) {
      generation.Finish(FinishReason::kCancelled,
                        absl::UnavailableError("the engine was shut down"),
                        now);
    } else {
      continue;
    }
    End(current);
  }
}

void EngineLoop::Step() {
  const absl::Time start = absl::Now();
  const StepPlan plan = scheduler_.Schedule(start);
  ANYPREC_CHECK(!plan.empty()) << generations_.size() << " requests are stuck";
  const absl::StatusOr<StepOutput> output = runner_->Execute(plan);
  if (!output.ok()) {
    HandleFailure(output.status());
    return;
  }
  const std::vector<RowCount> work = RowCounts(plan);
  const absl::Duration predicted = costs_.Predict(work);
  CountStep(plan);
  Deliver(plan, *output);
  const absl::Duration measured = absl::Now() - start;
  if (predicted > absl::ZeroDuration()) {
    counts_.predicted_step_seconds += absl::ToDoubleSeconds(predicted);
    counts_.measured_step_seconds += absl::ToDoubleSeconds(measured);
    counts_.measured_by_predicted.Add(absl::FDivDuration(measured, predicted));
  }
  costs_.Observe(work, measured);
}

// What `step` yields.
NewTokens EngineLoop::Take(const SequenceStep& step, const StepOutput& output) {
  Generation& generation = *generations_.at(step.sequence->id);
  if (step.takes_token) {
    return generation.TakeDrawn(step, output.tokens[step.draw_index]);
  }
  const size_t vocab = options_.limits.vocab_size;
  return generation.TakeLogits(
      step,
      output.logits.subspan(step.first_logits * vocab, step.num_logits * vocab),
      scratch_);
}

void EngineLoop::Deliver(const StepPlan& plan, const StepOutput& output) {
  const size_t vocab = options_.limits.vocab_size;
  ANYPREC_CHECK(output.logits.size() == plan.logit_rows.size() * vocab)
      << output.logits.size() << " logits for " << plan.logit_rows.size()
      << " rows";
  ANYPREC_CHECK(output.tokens.size() == plan.draws.size())
      << output.tokens.size() << " tokens for " << plan.draws.size()
      << " draws";
  std::vector<NewTokens> sampled;
  sampled.reserve(plan.steps.size());
  for (const SequenceStep& step : plan.steps) {
    if (step.num_logits == 0 && !step.takes_token) continue;
    NewTokens tokens = Take(step, output);
    if (!step.samples) continue;
    CountTokens(step, tokens);
    sampled.push_back(std::move(tokens));
  }
  const absl::Time now = absl::Now();
  for (const SequenceStep& step : plan.steps) {
    if (!step.samples || step.drafts) continue;
    if (step.sequence->generated() == 0) continue;
    counts_.inter_token_seconds.Add(
        absl::ToDoubleSeconds(now - step.sequence->last_token));
  }
  scheduler_.Commit(plan, sampled, now);
  for (const SequenceStep& step : plan.steps) {
    const auto generation = generations_.find(step.sequence->id);
    if (generation->second->Deliver(step, now)) End(generation);
  }
}

// Memory that ran out may be there for the next requests; after any other
// error of the backend nothing can be trusted.
void EngineLoop::HandleFailure(const absl::Status& failure) {
  const bool lives_on = absl::IsResourceExhausted(failure);
  if (!lives_on) {
    const std::lock_guard lock(mutex_);
    health_ = failure;
  }
  const absl::Time now = absl::Now();
  for (auto it = generations_.begin(); it != generations_.end();) {
    const auto current = it++;
    Generation& generation = *current->second;
    const bool started =
        generation.sequence().first_scheduled != absl::InfinitePast();
    if (lives_on && !started) continue;
    generation.Finish(FinishReason::kError, failure, now);
    End(current);
  }
}

void EngineLoop::End(Generations::iterator generation) {
  scheduler_.Remove(&generation->second->sequence());
  ended_.push_back(std::move(generation->second));
  generations_.erase(generation);
}

void EngineLoop::CountStep(const StepPlan& plan) {
  ++counts_.steps;
  BitsHistogram rows = {};
  for (const RowGroup& group : plan.groups) ++rows[group.precision];
  for (size_t bits = 0; bits < rows.size(); ++bits) {
    counts_.steps_by_bits[bits] += rows[bits] > 0 ? 1 : 0;
  }
  for (const SequenceStep& step : plan.steps) {
    if (step.phase == Phase::kPrefill && !step.sequence->recomputing()) {
      counts_.prompt_tokens_by_bits[step.bits] += step.rows;
    }
  }
}

void EngineLoop::CountTokens(const SequenceStep& step,
                             const NewTokens& tokens) {
  if (step.drafts) return;
  counts_.generated_tokens_by_bits[step.bits] +=
      static_cast<int64_t>(tokens.size());
  if (step.num_drafts == 0) return;
  counts_.draft_tokens += step.num_drafts;
  counts_.accepted_draft_tokens += AcceptedDrafts(step.sequence->draft, tokens);
}

void EngineLoop::Publish() {
  counts_.running = scheduler_.num_running();
  counts_.waiting = scheduler_.num_waiting();
  counts_.kv_blocks_total = pool_.num_blocks();
  counts_.kv_blocks_free = pool_.num_free();
  counts_.kv_block_tokens = pool_.block_tokens();
  counts_.preemptions = scheduler_.num_preemptions();
  counts_.precision_raises = scheduler_.num_raises();
  counts_.precision_drops = scheduler_.num_drops();
  counts_.prefix_cache_queries = scheduler_.num_prefix_queries();
  counts_.prefix_cache_hits = scheduler_.num_prefix_hits();
  counts_.precision_limits = scheduler_.limits();
  const absl::Time now = absl::Now();
  std::shared_ptr<const StepCostModel> costs;
  const absl::Duration age = now - step_costs_time_;
  // Negative where the clock was set back.
  if (age >= kStepCostsAge || age < absl::ZeroDuration() ||
      generations_.empty()) {
    costs = std::make_shared<const StepCostModel>(costs_);
    counts_.step_costs = costs;
    step_costs_time_ = now;
  }
  QueueSnapshot queue = scheduler_.Snapshot();
  {
    const std::lock_guard lock(mutex_);
    stats_ = counts_;
    admission_.Publish(std::move(queue), std::move(costs));
    in_flight_ -= static_cast<int>(ended_.size());
    handing_out_ = !ended_.empty();
  }
  if (ended_.empty()) return;
  // After their blocks and places were seen to be free: a reader that saw the
  // end may come back at once.
  for (const std::unique_ptr<Generation>& generation : ended_) {
    generation->HandOutLast();
  }
  ended_.clear();
  {
    const std::lock_guard lock(mutex_);
    handing_out_ = false;
  }
  ended_all_.notify_all();
}

}  // namespace anyprec
