#include "runtime/scheduler/step_plan.h"

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <utility>

namespace anyprec {

SequenceStep DecodeStep(Sequence& sequence) {
  SequenceStep step;
  step.sequence = &sequence;
  step.phase = Phase::kDecode;
  step.samples = true;
  const int drafted = static_cast<int>(sequence.draft.size());
  if (drafted < sequence.draft_goal) {
    step.drafts = true;
    step.position = sequence.computed + drafted;
    step.rows = 1;
    step.bits = sequence.draft_bits;
  } else {
    step.num_drafts = drafted;
    step.position = sequence.computed;
    step.rows = 1 + drafted;
    step.bits = sequence.next_bits;
  }
  step.takes_token = sequence.draw.has_value() && !step.drafts && drafted == 0;
  if (!step.takes_token) step.num_logits = step.rows;
  return step;
}

SequenceStep ChunkStep(Sequence& sequence, int row_budget, int logit_budget) {
  const int position = sequence.computed;
  const int pending = sequence.pending_rows();
  SequenceStep step;
  step.sequence = &sequence;
  step.position = position;
  step.phase = sequence.PhaseOf(position);
  step.bits = sequence.next_bits;
  int end = step.phase == Phase::kPrefill ? sequence.prompt_tokens
                                          : position + pending;
  const bool recomputing = sequence.recomputing();
  if (recomputing) {
    const std::vector<uint8_t>& bits = sequence.row_bits;
    int run = position;
    while (run < end && run < static_cast<int>(bits.size()) &&
           bits[run] == bits[position]) {
      ++run;
    }
    end = run;
    step.bits = bits[position];
  }
  step.rows = std::min(end - position, row_budget);
  if (sequence.request.prompt_logprobs && step.phase == Phase::kPrefill &&
      !recomputing) {
    step.rows = std::min(step.rows, logit_budget);
    step.num_logits = step.rows;
  }
  step.samples =
      step.rows == pending && sequence.request.stopping.max_tokens > 0;
  if (step.samples && step.num_logits == 0) {
    step.takes_token = sequence.draw.has_value();
    if (!step.takes_token) step.num_logits = 1;
  }
  return step;
}

StepPlan MakeStepPlan(std::vector<SequenceStep> steps) {
  std::stable_sort(steps.begin(), steps.end(),
                   [](const SequenceStep& a, const SequenceStep& b) {
                     return std::tie(a.phase, a.bits) <
                            std::tie(b.phase, b.bits);
                   });
  StepPlan plan;
  for (SequenceStep& step : steps) {
    const Sequence& sequence = *step.sequence;
    const int first_row = static_cast<int>(plan.tokens.size());
    const int end_row = first_row + step.rows;
    for (int row = step.position; row < step.position + step.rows; ++row) {
      plan.tokens.push_back(sequence.TokenAt(row));
    }
    plan.sequences.push_back(
        {first_row, step.rows, step.position, sequence.blocks});
    if (plan.groups.empty() || plan.groups.back().phase != step.phase ||
        plan.groups.back().precision != step.bits) {
      plan.groups.push_back({first_row, first_row, step.bits, step.phase});
    }
    plan.groups.back().end = end_row;
    step.first_logits = static_cast<int>(plan.logit_rows.size());
    for (int row = end_row - step.num_logits; row < end_row; ++row) {
      plan.logit_rows.push_back(row);
    }
    if (step.takes_token) {
      step.draw_index = static_cast<int>(plan.draws.size());
      TokenDraw& draw = plan.draws.emplace_back(*sequence.draw);
      draw.row = end_row - 1;
      draw.index = sequence.generated();
    }
  }
  plan.steps = std::move(steps);
  return plan;
}

std::vector<RowCount> RowCounts(const StepPlan& plan) {
  std::vector<RowCount> counts;
  counts.reserve(plan.groups.size());
  for (const RowGroup& group : plan.groups) {
    counts.push_back({group.phase, group.precision, group.end - group.begin});
  }
  size_t group = 0;  // of the sequence: both go by rows
  for (const SequenceRows& sequence : plan.sequences) {
    while (sequence.first_row >= plan.groups[group].end) ++group;
    counts[group].context += int64_t{sequence.rows} * sequence.position;
  }
  return counts;
}

}  // namespace anyprec
