// PrecisionPolicy: at how many bits each running sequence takes its next step.
//
// A pure function of what the sequences ask for and of measured step times; it
// knows neither queues nor clocks.
#ifndef ANYPREC_RUNTIME_SCHEDULER_PRECISION_POLICY_H_
#define ANYPREC_RUNTIME_SCHEDULER_PRECISION_POLICY_H_

#include <span>
#include <vector>

#include "absl/time/time.h"
#include "runtime/scheduler/step_cost_model.h"

namespace anyprec {

// What one running sequence asks of its next steps.
struct PrecisionDemand {
  int min_bits = 0;  // equal to max_bits: fixed
  int max_bits = 0;
  int current_bits = 0;      // of its last step; 0 before the first
  int prompt_rows_left = 0;  // 0: it decodes
  int tokens_left = 0;       // to generate: at most, or as expected
  // Time that remains, infinite where nothing is asked for.
  absl::Duration first_token_in = absl::InfiniteDuration();
  absl::Duration token_every = absl::InfiniteDuration();
  absl::Duration all_in = absl::InfiniteDuration();
};

// One precision for each demand.
//
// Sequences start at their ceilings. While the predicted times break some
// demand, the sequences whose demands are broken come down a bit at a time; if
// that does not keep every demand, all those that ask for latency come down
// together, which is kept where it breaks fewer: a step is as slow as its
// slowest group. Where no rung keeps every demand, the fastest of those that
// break the fewest is taken, as lower is not always faster.
//
// A sequence that asks for no latency stays at its ceiling. A prediction must
// leave some of the time asked for (kHeadroom), and more of it to go above
// current_bits (kRaiseHeadroom), so that noise does not move a sequence to and
// fro.
//
// Guarantees: min_bits <= result <= max_bits; deterministic.
std::vector<int> ChoosePrecisions(std::span<const PrecisionDemand> demands,
                                  int prefill_chunk_tokens,
                                  const StepCostModel& costs);

inline constexpr double kHeadroom = 0.95;
inline constexpr double kRaiseHeadroom = 0.85;

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_PRECISION_POLICY_H_
