// PrecisionPolicy: at how many bits each running sequence takes its next step.
//
// A pure function of what the sequences ask for, of measured step times and of
// the operator's limits; it knows neither queues nor clocks.
#ifndef ANYPREC_RUNTIME_SCHEDULER_PRECISION_POLICY_H_
#define ANYPREC_RUNTIME_SCHEDULER_PRECISION_POLICY_H_

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "runtime/scheduler/request.h"
#include "runtime/scheduler/served_load.h"
#include "runtime/scheduler/step_cost_model.h"

namespace anyprec {

// What one sequence asks of the next steps.
struct PrecisionDemand {
  int min_bits = 0;  // equal to max_bits: fixed
  int max_bits = 0;
  int current_bits = 0;      // of its last step; 0 before the first
  int prompt_rows_left = 0;  // 0: it decodes
  int context_tokens = 0;    // in its KV cache
  int tokens_left = 0;       // to generate: at most, or as expected
  // Steps until it may start, as others have to end first; 0: it runs, or may.
  int steps_until_start = 0;
  // Time that remains, infinite where nothing is asked for.
  absl::Duration first_token_in = absl::InfiniteDuration();
  absl::Duration token_every = absl::InfiniteDuration();
  absl::Duration all_in = absl::InfiniteDuration();
};

// What an operator allows automatic requests. A request's own floor and ceiling
// win: limits move its precision within them, and no fixed one.
struct PrecisionLimits {
  int min_bits = 0;
  int max_bits = kUnquantizedBits;

  bool operator==(const PrecisionLimits&) const = default;
};

// How precisions are chosen. Only kSlo is for serving; the others are what it
// is compared with.
struct PrecisionPolicy {
  enum class Kind {
    kSlo,         // the highest that keep every demand, as predicted
    kFixed,       // `bits` for all
    kLoadLadder,  // from ceiling to floor by the number of requests alone
  };
  Kind kind = Kind::kSlo;
  int bits = 0;            // of kFixed
  int floor_at_load = 32;  // of kLoadLadder: requests at which the floor is
                           // reached, running and waiting
};

// "slo", "fixed:BITS", "load-ladder" or "load-ladder:REQUESTS".
// INVALID_ARGUMENT says what was found.
absl::StatusOr<PrecisionPolicy> ParsePrecisionPolicy(absl::string_view text);
std::string ToString(const PrecisionPolicy& policy);

struct PolicyInput {
  // In the order in which their prompts are computed: those that run, then
  // those that wait.
  std::span<const PrecisionDemand> demands;
  int num_running = 0;
  int num_waiting = 0;  // all, though `demands` may end before the last
  int prefill_chunk_tokens = 0;
  // By which predicted times are multiplied before they are held against what
  // is asked for (LoadPressure).
  double pressure = 1;
  // What will go on coming.
  ServedLoad recent;
  PrecisionLimits limits;
};

// One precision for each demand; for a waiting one, what it would start at.
//
// kSlo: sequences start at their ceilings. While the predicted times break some
// demand, the sequences whose demands are broken come down a bit at a time, or
// all those that ask for latency together: whichever breaks fewer demands,
// makes tokens less late, or leaves more bits. A step is as slow as the sum of
// its groups, so that together may be faster than alone. If that does not keep
// every demand, all that may come down, where that breaks fewer. Where no rung
// keeps every demand, the best of those that break the fewest is taken, as
// lower is not always faster. A sequence that asks for no latency stays at its
// ceiling until then.
//
// Bursts do not announce themselves. Time per token is predicted with the load
// that goes on coming (`recent`), and for more answers at once than the mean;
// and where prompts, if they go on coming, take up more than a part of the time
// with the answers beside them, those that ask for latency come down as far as
// that needs, or to their quickest precision, prompts before answers: who comes
// in a burst finds a short queue. All times count `pressure` times as long.
// A prediction must leave part of the time asked for, and more of it to go
// above current_bits, so that noise does not move a sequence to and fro.
//
// Guarantees: min_bits <= result <= max_bits; deterministic. Where fewer bits
// always take less time, neither more answers beside it, nor more pressure, nor
// more load to come raise an answer that asks for latency. Where they do not,
// as in steps of so many rows that arithmetic is the limit, an overload may:
// what cannot be kept by lower bits does not cost any.
std::vector<int> ChoosePrecisions(const PrecisionPolicy& policy,
                                  const PolicyInput& input,
                                  const StepCostModel& costs);

// The precisions that `policy` may give a request whose own range is `own`.
BitsRange AllowedBits(const PrecisionPolicy& policy,
                      const PrecisionLimits& limits, const BitsRange& own);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_PRECISION_POLICY_H_
