// A run in windows of equal length, for plots.
//
// Thread-safe: values and functions without state.
#ifndef ANYPREC_TESTS_LOAD_TIMELINE_H_
#define ANYPREC_TESTS_LOAD_TIMELINE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "tests/load/record.h"
#include "tests/load/summary.h"

namespace anyprec::load {

struct TimelineWindow {
  // Requests planned in the window, and what became of them.
  int64_t planned = 0;
  int64_t refused = 0;
  int64_t failed = 0;  // lost, expired or in error
  // At the window's end: sent without a first token, and with one.
  int64_t waiting = 0;
  int64_t running = 0;
  // Tokens that arrived in the window.
  BitsCounts tokens_by_bits = {};
  // Milliseconds. TTFT of the answers planned in the window; TPOT of those that
  // ended in it. Absent where there are none.
  std::optional<double> ttft_p50_ms;
  std::optional<double> ttft_p99_ms;
  std::optional<double> tpot_p50_ms;
  std::optional<double> tpot_p99_ms;
};

struct Timeline {
  double window_s = 0;
  double warm_up_s = 0;
  double end_s = 0;  // of the arrivals; what comes after is the drain
  std::vector<TimelineWindow> windows;
};

// From the run's begin to its last event. `window` zero takes about 40 windows
// for the planned time, of at least 100 ms.
Timeline MakeTimeline(std::span<const RequestRecord> records,
                      const MeasuredTime& measured, absl::Duration window);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_TIMELINE_H_
