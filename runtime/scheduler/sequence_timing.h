// What is left of a sequence, and by when it wants it.
//
// Pure functions of a sequence and the time.
#ifndef ANYPREC_RUNTIME_SCHEDULER_SEQUENCE_TIMING_H_
#define ANYPREC_RUNTIME_SCHEDULER_SEQUENCE_TIMING_H_

#include "absl/time/time.h"
#include "runtime/scheduler/precision_policy.h"
#include "runtime/scheduler/sequence.h"

namespace anyprec {

// Tokens that are still to come: at most, where the request says how many.
// Else as of a usual answer; one that outgrows it is expected to become twice
// as long, so that its deadline slows it down step by step and not at its end.
int TokensLeft(const Sequence& sequence);

// Until the next token of a decoding sequence is due by its TPOT target, or by
// its share of the deadline. Infinite where even steps of `step` would end it
// too late: nobody needs to hurry for it.
absl::Duration NextTokenIn(const Sequence& sequence, absl::Duration step,
                           absl::Time now);

// When the first token is wanted, if those after it take `step` each; infinite
// where nothing is asked for.
absl::Time FirstTokenDue(const Sequence& sequence, absl::Duration step);

PrecisionDemand DemandOf(const Sequence& sequence, absl::Time now);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_SEQUENCE_TIMING_H_
