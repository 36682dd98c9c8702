// A stretch of a trace, brought to the size of the machine under test.
//
// Thread-safe: functions without state.
#ifndef ANYPREC_TESTS_LOAD_TRACE_SCALING_H_
#define ANYPREC_TESTS_LOAD_TRACE_SCALING_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/load/trace.h"

namespace anyprec::load {

// The most that a request may have; 0: no limit.
struct LengthCaps {
  int prompt_tokens = 0;
  int output_tokens = 0;
  // Of both together. The prompt is cut for it, and only where it cannot be
  // cut further the output.
  int context_tokens = 0;
};

struct TraceScaling {
  // The stretch [start, start + duration) of the trace's own time. Of a trace
  // without times everything is taken.
  absl::Duration start;
  absl::Duration duration = absl::InfiniteDuration();
  // Times are multiplied by this: 0.5 doubles the rate.
  double time_scale = 1;
  // Lengths are multiplied by this, and rounded up to at least 1.
  double length_scale = 1;
};

// Cuts the lengths to `caps`; returns whether anything was cut. Hash ids of
// blocks that are cut away go as well.
bool ApplyCaps(const LengthCaps& caps, TraceEntry& entry);

// Times begin at zero again. INVALID_ARGUMENT where a scale is not above 0, or
// the stretch holds no request.
absl::StatusOr<std::vector<TraceEntry>> ScaleTrace(
    std::vector<TraceEntry> entries, const TraceScaling& scaling);

// Requests a second over the entries' times: the number of gaps by the time
// they span. 0 for fewer than 2 entries, or where all came at once.
// REQUIRES: the entries have times.
double MeanRate(const std::vector<TraceEntry>& entries);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_TRACE_SCALING_H_
