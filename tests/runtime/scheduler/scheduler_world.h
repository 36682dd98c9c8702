// A scheduler with a pool, a fake model and a clock of its own; what its tests
// make requests with.
#ifndef ANYPREC_TESTS_RUNTIME_SCHEDULER_SCHEDULER_WORLD_H_
#define ANYPREC_TESTS_RUNTIME_SCHEDULER_SCHEDULER_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "runtime/kv/block_pool.h"
#include "runtime/scheduler/request.h"
#include "runtime/scheduler/scheduler.h"
#include "runtime/scheduler/sequence.h"
#include "runtime/scheduler/step_cost_model.h"
#include "runtime/scheduler/step_plan.h"
#include "runtime/tokenizer/token.h"
#include "tests/runtime/scheduler/fake_model.h"

namespace anyprec {

inline constexpr int kBlockTokens = 4;
inline constexpr int kSeedBits = 3;
inline constexpr int kParentBits = 8;
inline constexpr int kVocab = 1000;
// Few, so that some drafts are right.
inline constexpr int kAnswerVocab = 3;

// A scheduler, its pool and a fake model, in virtual time.
class World {
 public:
  World(const SchedulerOptions& options, int num_blocks);

  Sequence& Add(Request request);

  // One step; checks the plan and ends what is finished.
  StepPlan Step();

  // What greedy decoding makes of the logits.
  NewTokens TokensOf(const SequenceStep& step,
                     const std::vector<uint64_t>& hashes) const;

  void End(Sequence* sequence);

  void RunAll();

  Scheduler& scheduler() { return scheduler_; }
  const BlockPool& pool() const { return pool_; }
  const std::map<uint64_t, std::unique_ptr<Sequence>>& ended() const {
    return ended_;
  }
  std::map<uint64_t, std::unique_ptr<Sequence>>& live() { return live_; }
  void Advance(absl::Duration time) { now_ += time; }
  absl::Time now() const { return now_; }

 private:
  void CheckPlan(const StepPlan& plan) const;

  BlockPool pool_;
  FakeModel model_;
  StepCostModel costs_;
  const SchedulerOptions options_;
  Scheduler scheduler_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
  uint64_t next_id_ = 1;
  std::map<uint64_t, std::unique_ptr<Sequence>> live_;
  std::map<uint64_t, std::unique_ptr<Sequence>> ended_;
};

std::vector<TokenId> RandomPrompt(std::mt19937& random, int length);

Request MakeRequest(std::vector<TokenId> prompt, int max_tokens);

// The tokens that the fake model gives to a sequence with rows at `row_bits`.
std::vector<TokenId> Expected(const Sequence& sequence);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_SCHEDULER_SCHEDULER_WORLD_H_
