// StepPlan: the rows of one forward pass, and whose they are.
//
// Rows are sorted by phase and precision, so that each RowGroup is one
// contiguous range; every sequence has at most one entry, of one phase and one
// precision.
#ifndef ANYPREC_RUNTIME_SCHEDULER_STEP_PLAN_H_
#define ANYPREC_RUNTIME_SCHEDULER_STEP_PLAN_H_

#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "kernels/backend.h"
#include "kernels/sampling.h"
#include "runtime/scheduler/sequence.h"
#include "runtime/scheduler/step_cost_model.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

// The share of one sequence in a step.
struct SequenceStep {
  Sequence* sequence = nullptr;
  int position = 0;  // of its first row in the sequence
  int rows = 0;
  Phase phase = Phase::kDecode;
  int bits = 0;
  int first_logits = 0;  // into StepPlan::logit_rows
  int num_logits = 0;    // for its last rows
  // Of its last row a token is wanted, and no logits.
  bool takes_token = false;
  int draw_index = 0;  // into StepPlan::draws, if so
  // Its last row yields the next token, or each of its last num_drafts + 1 rows
  // one, up to the first draft that is not accepted.
  bool samples = false;
  int num_drafts = 0;   // of its rows; each is verified by the row before it
  bool drafts = false;  // what it yields is itself a draft
};

// What an entry yielded that samples: one token, or with drafts accepted more.
using NewTokens = absl::InlinedVector<TokenId, 1>;

struct StepPlan {
  std::vector<SequenceStep> steps;

  // What the model reads; [rows], one per step, and so on. `sequences` borrows
  // the block tables of the sequences.
  std::vector<TokenId> tokens;
  std::vector<SequenceRows> sequences;
  std::vector<RowGroup> groups;
  std::vector<int32_t> logit_rows;
  std::vector<TokenDraw> draws;  // from rows that are not among logit_rows

  bool empty() const { return steps.empty(); }
};

// The next row of a sequence that decodes; a row of its draft; or, where that
// is as long as wanted, all that it takes to verify it.
SequenceStep DecodeStep(Sequence& sequence);

// Rows of a prompt, or rows that were lost to preemption: of one phase, of one
// precision, and either all new or all computed before. As many as the budgets
// allow; perhaps none. `logit_budget` is for prompts that are scored.
SequenceStep ChunkStep(Sequence& sequence, int row_budget, int logit_budget);

// Sorts the steps and spreads their rows out for the model.
StepPlan MakeStepPlan(std::vector<SequenceStep> steps);

// The rows of a plan by phase and precision, as its groups: what the step will
// cost.
std::vector<RowCount> RowCounts(const StepPlan& plan);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_STEP_PLAN_H_
