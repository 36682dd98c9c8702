// EngineLoop: all of the engine but the model, which it knows as a ModelRunner.
//
// One thread repeats: take in new requests, end those that were cancelled or
// whose deadline has passed, plan a step, run it, sample, deliver. It sleeps
// while there is nothing to do.
//
// Thread-safe; see Engine for what the methods promise.
#ifndef ANYPREC_RUNTIME_ENGINE_ENGINE_LOOP_H_
#define ANYPREC_RUNTIME_ENGINE_ENGINE_LOOP_H_

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/engine/engine_stats.h"
#include "runtime/engine/generation.h"
#include "runtime/engine/model_runner.h"
#include "runtime/engine/request_validation.h"
#include "runtime/engine/response_stream.h"
#include "runtime/engine/sampler.h"
#include "runtime/kv/block_pool.h"
#include "runtime/scheduler/admission.h"
#include "runtime/scheduler/admission_control.h"
#include "runtime/scheduler/precision_policy.h"
#include "runtime/scheduler/request.h"
#include "runtime/scheduler/scheduler.h"
#include "runtime/scheduler/step_cost_model.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

struct EngineLoopOptions {
  SchedulerOptions scheduler;
  ModelLimits limits;
  int max_queued_requests = 1024;  // accepted beyond scheduler.max_sequences
  absl::Duration max_queue_time = absl::InfiniteDuration();
  // Idle for so long, the last steps tell nothing of the next ones' times.
  absl::Duration recent_costs_age = absl::Seconds(5);
  int kv_blocks = 0;
  int kv_block_tokens = 16;
};

class EngineLoop {
 public:
  // Starts the thread. `tokenizer` may be null and must outlive the loop;
  // `costs` are what a sweep measured.
  EngineLoop(const EngineLoopOptions& options,
             std::unique_ptr<ModelRunner> runner, const Tokenizer* tokenizer,
             StepCostModel costs);

  // Cancels what is left and joins the thread.
  ~EngineLoop();

  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  absl::Status Admit(const AdmissionQuery& query);
  absl::StatusOr<std::unique_ptr<ResponseStream>> Submit(Request request);
  absl::Status SetPrecisionLimits(const PrecisionLimits& limits);
  EngineStats Stats() const;
  absl::Status Health() const;
  void Drain(absl::Time deadline);

 private:
  using Generations =
      absl::flat_hash_map<uint64_t, std::unique_ptr<Generation>>;

  bool Idle() const { return in_flight_ == 0 && !handing_out_; }
  bool HasWork() const { return !incoming_.empty() || stopping_; }
  void Run();
  bool WaitForWork();
  void Sleep();
  void EndInterrupted(absl::Time now);
  void Step();
  void Deliver(const StepPlan& plan, const StepOutput& output);
  NewTokens Take(const SequenceStep& step, const StepOutput& output);
  void HandleFailure(const absl::Status& failure);
  void End(Generations::iterator generation);
  absl::Status CheckOpen() const;
  void CountStep(const StepPlan& plan);
  void CountTokens(const SequenceStep& step, const NewTokens& tokens);
  void Publish();

  const EngineLoopOptions options_;
  const Tokenizer* const tokenizer_;

  // The loop thread's own.
  const std::unique_ptr<ModelRunner> runner_;
  StepCostModel costs_;
  BlockPool pool_;
  Scheduler scheduler_;  // CheckFits() is any thread's
  Generations generations_;
  std::vector<std::unique_ptr<Generation>> ended_;  // last chunk not handed out
  SamplerScratch scratch_;
  EngineStats counts_;
  absl::Time step_costs_time_ = absl::InfinitePast();
  bool cancel_all_ = false;

  // Guards the rest. A standard mutex, as ThreadSanitizer does not see into
  // those of a libabsl that was built without it.
  mutable std::mutex mutex_;
  std::condition_variable work_;       // incoming_ or stopping_ changed
  std::condition_variable ended_all_;  // Idle() may have come true
  std::vector<std::unique_ptr<Generation>> incoming_;
  uint64_t next_id_ = 1;
  absl::BitGen seeds_;
  int in_flight_ = 0;         // accepted and not ended
  bool handing_out_ = false;  // last chunks
  bool draining_ = false;
  bool cancel_requested_ = false;
  bool stopping_ = false;
  absl::Status health_;
  PrecisionLimits precision_limits_;
  AdmissionControl admission_;
  EngineStats stats_;

  std::thread thread_;  // last: starts when all else is there
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_ENGINE_LOOP_H_
