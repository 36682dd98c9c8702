// DraftWindows: which sequences begin to draft before a step, how many tokens
// and at how many bits; and what became of their drafts.
//
// A sequence that says how much to draft, or at how many bits, opens its
// windows by itself. Those that leave both to us open them together, once none
// of them is in one any more, so that steps stay of few precisions.
//
// Borrows the pool and the cost model. Thread-compatible.
#ifndef ANYPREC_RUNTIME_SCHEDULER_DRAFT_WINDOWS_H_
#define ANYPREC_RUNTIME_SCHEDULER_DRAFT_WINDOWS_H_

#include <span>

#include "runtime/kv/block_pool.h"
#include "runtime/scheduler/request.h"
#include "runtime/scheduler/sequence.h"
#include "runtime/scheduler/speculation.h"
#include "runtime/scheduler/step_cost_model.h"
#include "runtime/scheduler/step_plan.h"

namespace anyprec {

// How many of `draft` were right: `tokens`, which verifying it yielded, begin
// with them. All tokens may, where an answer ends with a draft.
int AcceptedDrafts(std::span<const TokenId> draft, const NewTokens& tokens);

struct DraftWindowOptions {
  // Speculate for requests that do not say, where it is predicted to pay.
  bool speculate = false;
  BitsRange bits;  // that drafts may run at; served by the model
};

class DraftWindows {
 public:
  DraftWindows(const DraftWindowOptions& options, BlockPool& pool,
               const StepCostModel& costs);

  // Once a step. `decoding` are those that decode in it; some get a draft_goal
  // and blocks for it, out of what is free beyond `reserved_blocks`.
  void Open(std::span<Sequence* const> decoding, int reserved_blocks);

  // The draft of `sequence` was verified and yielded `tokens`. Its window ends.
  void Close(Sequence& sequence, const NewTokens& tokens);

 private:
  void OpenOne(Sequence& sequence, const DraftWindow& window,
               int reserved_blocks);
  DraftWindow Choose(std::span<Sequence* const> decoding,
                     std::span<Sequence* const> speculating,
                     DraftQuery query) const;

  const DraftWindowOptions options_;
  BlockPool& pool_;
  const StepCostModel& costs_;
  AcceptanceRates acceptance_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_DRAFT_WINDOWS_H_
