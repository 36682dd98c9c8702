// Scheduler: which rows of which sequences the next step computes, at how many
// bits, and in which KV blocks. Knows tokens and blocks; never tensors.
//
// Sequences wait, then run. Both stand in one total order, *rank*: the earlier
// due time first (deadline or time-to-first-token target; kPatience after
// submission for those with neither), each level of priority bringing it
// forward by kPatience, then the earlier submission. What waits therefore rises
// above all that comes kPatience later for each level that it is lower:
// neither urgent nor important work can starve it.
//   - Admission takes sequences off the waiting queue strictly by rank while a
//     place and blocks for all their known tokens are free. Nobody overtakes.
//     A prompt begins with the blocks that the prefix cache has of it, at its
//     fixed precision, or at what an automatic one would get now or above.
//   - Each step holds one row of every decoding sequence, and prompt rows by
//     rank up to the chunk budget, which shrinks where a full chunk would make
//     a decoding sequence miss its time per token, to nothing as long as every
//     prompt can wait. A chunk that shrank is of one precision.
//   - Sequences that speculate draft tokens for a few steps, one row each at a
//     low precision, and verify them in one (draft_windows.h).
//   - Where no block is left for a decoding sequence, the running sequence of
//     lowest rank is preempted: it gives up its blocks, waits again, and its
//     rows are computed anew as they were (sequence.h).
//
// Guarantees: the sequence of highest rank runs alone if need be, and CheckFits
// saw that it can, so that while any sequence is here Schedule() gives a step
// that is not empty; a sequence leaves only through Remove().
//
// Borrows the sequences, the pool and the cost model. Thread-compatible.
#ifndef ANYPREC_RUNTIME_SCHEDULER_SCHEDULER_H_
#define ANYPREC_RUNTIME_SCHEDULER_SCHEDULER_H_

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/kv/block_pool.h"
#include "runtime/kv/prefix_cache.h"
#include "runtime/scheduler/admission.h"
#include "runtime/scheduler/draft_windows.h"
#include "runtime/scheduler/precision_policy.h"
#include "runtime/scheduler/prompt_pace.h"
#include "runtime/scheduler/sequence.h"
#include "runtime/scheduler/served_load.h"
#include "runtime/scheduler/step_cost_model.h"
#include "runtime/scheduler/step_plan.h"

namespace anyprec {

struct SchedulerOptions {
  int max_sequences = 64;          // running at once
  int prefill_chunk_tokens = 512;  // prompt rows in a step, all sequences
  // Logit rows in a step for sequences that want them of their whole prompt.
  // They are what takes memory there: one is vocab_size floats.
  int max_prompt_logit_rows = 512;
  bool prefix_cache = true;
  DraftWindowOptions drafts;
  PrecisionPolicy policy;
};

class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, BlockPool& pool,
            const StepCostModel& costs);

  // RESOURCE_EXHAUSTED where the whole pool could not hold the sequence at its
  // longest. Reads constants only: safe from any thread.
  absl::Status CheckFits(int prompt_tokens, int max_tokens) const;

  // `sequence` waits from now on. REQUIRES: it fits; its prompt is not empty.
  void Add(Sequence* sequence);

  // From the next step on.
  void SetLimits(const PrecisionLimits& limits) { limits_ = limits; }
  const PrecisionLimits& limits() const { return limits_; }
  // LoadPressure, from the next step on.
  void SetPressure(double pressure) { pressure_ = pressure; }

  // Plans the next step. Before the next call, pass the plan to Commit(), or
  // Remove() its sequences.
  StepPlan Schedule(absl::Time now);

  // The step was computed: `sampled` holds what each entry yielded that
  // samples, in order.
  void Commit(const StepPlan& plan, std::span<const NewTokens> sampled,
              absl::Time now);

  // Ends a sequence, waiting or running, and frees its blocks.
  void Remove(Sequence* sequence);

  // What a new request would find.
  QueueSnapshot Snapshot() const;

  int num_running() const { return static_cast<int>(running_.size()); }
  int num_waiting() const { return static_cast<int>(waiting_.size()); }
  int64_t num_preemptions() const { return num_preemptions_; }
  // Changes of precision between two tokens of an answer.
  int64_t num_raises() const { return num_raises_; }
  int64_t num_drops() const { return num_drops_; }
  // Prompt rows of sequences that were admitted, and those of them that the
  // prefix cache had.
  int64_t num_prefix_queries() const { return num_prefix_queries_; }
  int64_t num_prefix_hits() const { return num_prefix_hits_; }

 private:
  struct RankLess {
    bool operator()(const Sequence* a, const Sequence* b) const;
  };

  void GrowBlockTables();
  void PreemptLowest();
  void ChooseNextBits(absl::Time now);
  void Admit();
  bool TakeBlocks(Sequence& sequence);
  std::vector<int32_t> KnownBlocks(const Sequence& sequence, int low_bits,
                                   std::vector<uint8_t>& row_bits) const;
  void RememberBlocks(Sequence& sequence);
  bool HasBlocks(const Sequence& sequence) const;
  std::vector<Sequence*> Decoding() const;
  int ChunkBudget(absl::Time now) const;
  bool PromptsCanWait(PromptPace& pace, absl::Duration step,
                      absl::Time now) const;
  std::vector<SequenceStep> SelectRows(absl::Time now) const;
  void TakeRows(Sequence& sequence, int rows, int bits);
  void TakeToken(Sequence& sequence, TokenId token, int bits);

  const SchedulerOptions options_;
  BlockPool& pool_;
  std::optional<PrefixCache> prefixes_;
  const StepCostModel& costs_;
  std::set<Sequence*, RankLess> waiting_;
  std::vector<Sequence*> running_;  // by rank
  PrecisionLimits limits_;
  double pressure_ = 1;
  DraftWindows windows_;
  ServedLoadMeter served_;
  int64_t num_preemptions_ = 0;
  int64_t num_raises_ = 0;
  int64_t num_drops_ = 0;
  int64_t num_prefix_queries_ = 0;
  int64_t num_prefix_hits_ = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_SCHEDULER_H_
