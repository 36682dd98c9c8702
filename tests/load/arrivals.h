// When requests arrive, drawn from a process.
//
// Thread-safe: functions without state.
#ifndef ANYPREC_TESTS_LOAD_ARRIVALS_H_
#define ANYPREC_TESTS_LOAD_ARRIVALS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace anyprec::load {

enum class ArrivalProcess {
  kConstant,  // equal gaps
  kPoisson,   // exponential gaps: independent users
  kGamma,     // gamma gaps: burstier than Poisson for cv > 1
};

struct ArrivalOptions {
  ArrivalProcess process = ArrivalProcess::kPoisson;
  double rate_per_s = 1;
  // A ramp: the rate changes linearly from rate_per_s to this over `duration`.
  std::optional<double> end_rate_per_s;
  // Standard deviation of the gaps by their mean; of kGamma only.
  double cv = 1;
  absl::Duration duration;
  uint64_t seed = 0;
};

// Offsets in [0, duration), ascending; the same for the same options. The
// process runs in "expected arrivals so far", which the (changing) rate then
// turns into times, so every process can ramp. INVALID_ARGUMENT where a rate
// is below 0, both are 0, cv or duration is not above 0, or more than
// kMaxArrivals are expected.
absl::StatusOr<std::vector<absl::Duration>> PlanArrivals(
    const ArrivalOptions& options);

// 10^7 planned requests take some gigabytes.
inline constexpr double kMaxArrivals = 1e7;

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_ARRIVALS_H_
