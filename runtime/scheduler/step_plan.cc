#include "runtime/scheduler/step_plan.h"

#include <cstddef>

namespace anyprec {

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
