// The highest rate at which enough requests still meet their SLOs.
//
// Thread-safe: functions without state.
#ifndef ANYPREC_TESTS_LOAD_RATE_SEARCH_H_
#define ANYPREC_TESTS_LOAD_RATE_SEARCH_H_

#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"

namespace anyprec::load {

struct RateSearchOptions {
  double min_rate_rps = 0.1;  // above 0
  double max_rate_rps = 100;  // at least min_rate_rps
  // The search ends when the rates that bracket the answer differ by less than
  // this fraction.
  double tolerance = 0.05;
};

struct HighestRate {
  double goodput = 0;  // the share asked for
  // The highest rate that was measured to reach it; absent where even the
  // lowest does not.
  std::optional<double> rate_rps;
  bool at_max = false;  // the highest rate allowed reaches it: there is more
};

// Runs a test at a rate; returns the share of requests that met their SLOs.
using MeasureGoodput = std::function<absl::StatusOr<double>(double rate_rps)>;

// One answer for each of `goodputs`. Bisects on a logarithmic scale, taking it
// that a higher rate never helps; a rate is measured once for all of them.
// INVALID_ARGUMENT for bounds or tolerance out of range, or the first error of
// `measure`.
absl::StatusOr<std::vector<HighestRate>> FindHighestRates(
    const std::vector<double>& goodputs, const RateSearchOptions& options,
    const MeasureGoodput& measure);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_RATE_SEARCH_H_
