#include "runtime/engine/warm_up.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
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

// How far into a context the price of a cached token is measured: far enough
// that it stands out of the noise.
constexpr int kContextTokens = 1024;

// Few rows and many, as StepCostModel draws lines between two. The fixed cost
// of a step shows with few.
constexpr int kFewPrefillRows = 16;
constexpr int kManyPrefillRows = 128;

// A probe's time is the least of its runs. The first also grows buffers and
// touches memory for the first time; short ones are run more often, as what
// disturbs them is as long as they are.
constexpr int kLeastRuns = 2;
constexpr int kMostRuns = 5;
constexpr absl::Duration kProbeTime = absl::Milliseconds(50);

// What disturbs a machine may last longer than a probe: as far as there is
// time, all are run again, and the least counts. Beyond the first few passes
// that goes on while it still finds a probe that takes less.
constexpr int kFewPasses = 3;
constexpr int kMostPasses = 12;
// Of the least time so far: what is not below does not count as less.
constexpr double kNotLess = 0.97;

// A step to be timed, and what its time tells.
struct Probe {
  enum class Tells { kRows, kContext, kShared };
  std::vector<RowCount> groups;
  Tells tells = Tells::kRows;
};

// One sequence for each decode row, one for each prefill group. Block tables
// must outlive the plan that borrows them.
StepPlan MakePlan(const Probe& probe, const std::vector<int32_t>& blocks,
                  int block_tokens) {
  StepPlan plan;
  size_t next_block = 0;
  for (const RowCount& group : probe.groups) {
    const int first_row = static_cast<int>(plan.tokens.size());
    const int end_row = first_row + group.rows;
    const int position = static_cast<int>(group.context / group.rows);
    plan.tokens.resize(end_row, 0);
    plan.groups.push_back({first_row, end_row, group.bits, group.phase});
    const int rows = group.phase == Phase::kPrefill ? group.rows : 1;
    for (int row = first_row; row < end_row; row += rows) {
      const size_t held = (position + rows + block_tokens - 1) / block_tokens;
      plan.sequences.push_back(
          {row, rows, position, std::span(blocks).subspan(next_block, held)});
      next_block += held;
      plan.draws.push_back({.row = row + rows - 1});
    }
  }
  return plan;
}

std::vector<Probe> Probes(const WarmUpOptions& options) {
  const int decode_limit = std::min(options.max_decode_rows, options.kv_blocks);
  const int64_t cache_tokens =
      static_cast<int64_t>(options.kv_blocks) * options.kv_block_tokens;
  const int prefill_limit = static_cast<int>(
      std::min<int64_t>(options.max_prefill_rows, cache_tokens));
  std::vector<Probe> probes;
  const std::vector<int> all =
      BitsByImportance(options.min_bits, options.max_bits);
  const auto ends = std::span(all).first(std::min<size_t>(2, all.size()));
  const auto inner = std::span(all).subspan(ends.size());
  const auto add = [&](Phase phase, int rows, std::span<const int> precisions) {
    if (rows > (phase == Phase::kDecode ? decode_limit : prefill_limit)) return;
    for (const int bits : precisions) probes.push_back({{{phase, bits, rows}}});
  };
  const int few = std::min(kFewPrefillRows, prefill_limit);
  const int many = std::min(kManyPrefillRows, prefill_limit);
  const auto add_context = [&](Phase phase, int rows) {
    const int64_t position =
        std::min<int64_t>(kContextTokens, options.max_context_tokens - rows);
    if (position <= 0 || position + rows > cache_tokens) return;
    // At the precision that is likely to take least: what the context adds is a
    // difference of times, and would drown in the noise of longer ones.
    probes.push_back({{{phase, options.min_bits, rows, rows * position}},
                      Probe::Tells::kContext});
  };
  // A slow machine gets through the first lines only. They hold what
  // StepCostModel can draw lines from: both phases, at the ends of the range.
  add(Phase::kDecode, 1, all);
  add(Phase::kPrefill, few, ends);
  add(Phase::kPrefill, many, ends);
  add_context(Phase::kDecode, 1);
  add_context(Phase::kPrefill, many);
  // Again the two that are likely to take least.
  if (ends.size() == 2 && decode_limit >= 2) {
    probes.push_back({{{Phase::kDecode, options.min_bits, 1},
                       {Phase::kDecode, options.min_bits + 1, 1}},
                      Probe::Tells::kShared});
  }
  add(Phase::kDecode, 16, ends);
  // No line from end to end: a machine may have quicker arithmetic for low
  // precisions.
  add(Phase::kPrefill, many, inner);
  add(Phase::kDecode, 16, inner);
  add(Phase::kDecode, 4, all);
  add(Phase::kPrefill, few, inner);
  add(Phase::kDecode, 48, all);
  return probes;
}

// Of a few runs; infinite where time is out before.
absl::StatusOr<absl::Duration> LeastTime(
    ModelRunner& runner, const StepPlan& plan,
    absl::FunctionRef<bool()> out_of_time) {
  absl::Duration least = absl::InfiniteDuration();
  const absl::Time start = absl::Now();
  for (int run = 0; run < kMostRuns; ++run) {
    if (out_of_time()) {
      return run < kLeastRuns ? absl::InfiniteDuration() : least;
    }
    const absl::Time begin = absl::Now();
    if (run >= kLeastRuns && begin - start >= kProbeTime) break;
    RETURN_IF_ERROR(runner.Execute(plan).status());
    least = std::min(least, absl::Now() - begin);
  }
  return least;
}

void Learn(const Probe& probe, absl::Duration time, StepCostModel& costs) {
  const RowCount& group = probe.groups[0];
  switch (probe.tells) {
    case Probe::Tells::kRows:
      costs.Measure(group, time);
      return;
    case Probe::Tells::kContext: {
      RowCount without = group;
      without.context = 0;
      costs.MeasureContext(group.phase,
                           (time - costs.Predict(without)) / group.context);
      return;
    }
    case Probe::Tells::kShared:
      costs.MeasureShared(costs.Predict(probe.groups) - time);
      return;
  }
}

}  // namespace

absl::StatusOr<StepCostModel> MeasureStepCosts(ModelRunner& runner,
                                               const WarmUpOptions& options) {
  StepCostModel costs;
  std::vector<int32_t> blocks(options.kv_blocks);
  std::iota(blocks.begin(), blocks.end(), 0);
  const std::vector<Probe> probes = Probes(options);
  std::vector<absl::Duration> least(probes.size(), absl::InfiniteDuration());
  const absl::Time start = absl::Now();
  const auto out_of_time = [&] {
    return absl::Now() - start >= options.time_limit;
  };
  bool settled = false;
  for (int pass = 0; pass < kMostPasses && !settled; ++pass) {
    settled = pass + 1 >= kFewPasses;
    for (size_t i = 0; i < probes.size() && !out_of_time(); ++i) {
      const StepPlan plan =
          MakePlan(probes[i], blocks, options.kv_block_tokens);
      ASSIGN_OR_RETURN(const absl::Duration time,
                       LeastTime(runner, plan, out_of_time));
      if (time < kNotLess * least[i]) settled = false;
      least[i] = std::min(least[i], time);
    }
  }
  for (size_t i = 0; i < probes.size(); ++i) {
    if (least[i] < absl::InfiniteDuration()) Learn(probes[i], least[i], costs);
  }
  return costs;
}

}  // namespace anyprec
