#include "runtime/engine/warm_up.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "runtime/scheduler/step_plan.h"

namespace anyprec {
namespace {

// The ends of the range first, then what lies between them.
std::vector<int> BitsByImportance(int min_bits, int max_bits) {
  std::vector<int> bits = {max_bits};
  for (int b = min_bits; b < max_bits; ++b) bits.push_back(b);
  return bits;
}

// Block tables must outlive the plan that borrows them.
StepPlan MakePlan(const RowCount& work, const std::vector<int32_t>& blocks) {
  StepPlan plan;
  plan.tokens.assign(work.rows, 0);
  plan.groups = {{0, work.rows, work.bits, work.phase}};
  if (work.phase == Phase::kPrefill) {
    plan.sequences = {{0, work.rows, 0, blocks}};
    plan.logit_rows = {work.rows - 1};
    return plan;
  }
  for (int row = 0; row < work.rows; ++row) {
    plan.sequences.push_back({row, 1, 0, std::span(blocks).subspan(row, 1)});
    plan.logit_rows.push_back(row);
  }
  return plan;
}

std::vector<RowCount> Cells(const WarmUpOptions& options) {
  const int decode_limit = std::min(options.max_decode_rows, options.kv_blocks);
  const int64_t cache_tokens =
      static_cast<int64_t>(options.kv_blocks) * options.kv_block_tokens;
  const int prefill_limit = static_cast<int>(
      std::min<int64_t>(options.max_prefill_rows, cache_tokens));
  std::vector<RowCount> cells;
  const std::vector<int> all =
      BitsByImportance(options.min_bits, options.max_bits);
  const auto ends = std::span(all).first(std::min<size_t>(2, all.size()));
  const auto inner = std::span(all).subspan(ends.size());
  const auto add = [&](Phase phase, int rows, std::span<const int> precisions) {
    if (rows > (phase == Phase::kDecode ? decode_limit : prefill_limit)) return;
    for (const int bits : precisions) cells.push_back({phase, bits, rows});
  };
  const int prefill_rows = std::min(128, prefill_limit);
  // A slow machine gets through the first lines only. They hold what
  // StepCostModel can draw lines from: both phases, at the ends of the range.
  add(Phase::kDecode, 1, all);
  add(Phase::kPrefill, prefill_rows, ends);
  add(Phase::kDecode, 16, all);
  add(Phase::kPrefill, prefill_rows, inner);
  add(Phase::kDecode, 4, all);
  add(Phase::kPrefill, 16, all);
  return cells;
}

}  // namespace

absl::StatusOr<StepCostModel> MeasureStepCosts(ModelRunner& runner,
                                               const WarmUpOptions& options) {
  StepCostModel costs;
  std::vector<int32_t> blocks(options.kv_blocks);
  std::iota(blocks.begin(), blocks.end(), 0);
  const absl::Time start = absl::Now();
  for (const RowCount& cell : Cells(options)) {
    const StepPlan plan = MakePlan(cell, blocks);
    absl::Duration least = absl::InfiniteDuration();
    // The first run also grows buffers and touches memory for the first time.
    for (int run = 0; run < 2; ++run) {
      const absl::Time begin = absl::Now();
      if (begin - start >= options.time_limit) return costs;
      RETURN_IF_ERROR(runner.Execute(plan).status());
      least = std::min(least, absl::Now() - begin);
    }
    costs.Measure(cell, least);
  }
  return costs;
}

}  // namespace anyprec
