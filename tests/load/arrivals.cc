#include "tests/load/arrivals.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "tests/load/seeded_random.h"

namespace anyprec::load {
namespace {

// A gap of mean 1.
double Gap(const ArrivalOptions& options, SeededRandom& random) {
  switch (options.process) {
    case ArrivalProcess::kConstant:
      return 1;
    case ArrivalProcess::kPoisson:
      return random.Exponential();
    case ArrivalProcess::kGamma:
      break;
  }
  return random.Gamma(options.cv);
}

absl::Status Validate(const ArrivalOptions& options, double end_rate) {
  if (!(options.rate_per_s >= 0) || !(end_rate >= 0) ||
      !(options.rate_per_s + end_rate > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the rate is ", options.rate_per_s, " to ", end_rate,
                     " requests/s; must be at least 0 and not always 0"));
  }
  if (options.process == ArrivalProcess::kGamma &&
      !(options.cv > 0 && options.cv <= 100)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cv is ", options.cv, "; must be in (0, 100]"));
  }
  if (options.duration <= absl::ZeroDuration() ||
      options.duration == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the duration is ", absl::FormatDuration(options.duration),
                     "; must be above 0 and finite"));
  }
  const double expected = (options.rate_per_s + end_rate) / 2 *
                          absl::ToDoubleSeconds(options.duration);
  if (expected > kMaxArrivals) {
    return absl::InvalidArgumentError(absl::StrCat(
        expected, " requests are planned; must be at most ", kMaxArrivals));
  }
  return absl::OkStatus();
}

// Solves  rate t + slope t^2 / 2 = expected  for the smaller t >= 0, in the
// form that does not cancel for small slopes. NaN where the rate falls to zero
// before.
double TimeOf(double expected, double rate, double slope) {
  const double root = std::sqrt(rate * rate + 2 * slope * expected);
  return 2 * expected / (rate + root);
}

}  // namespace

absl::StatusOr<std::vector<absl::Duration>> PlanArrivals(
    const ArrivalOptions& options) {
  const double end_rate = options.end_rate_per_s.value_or(options.rate_per_s);
  RETURN_IF_ERROR(Validate(options, end_rate));
  const double duration_s = absl::ToDoubleSeconds(options.duration);
  const double slope = (end_rate - options.rate_per_s) / duration_s;
  SeededRandom random(options.seed);
  std::vector<absl::Duration> arrivals;
  // Equal gaps start half a gap in: as many fall into every stretch of time.
  double expected =
      options.process == ArrivalProcess::kConstant ? 0.5 : Gap(options, random);
  while (true) {
    const double at_s = TimeOf(expected, options.rate_per_s, slope);
    if (!(at_s < duration_s)) return arrivals;  // also where NaN
    arrivals.push_back(absl::Seconds(at_s));
    expected += Gap(options, random);
  }
}

}  // namespace anyprec::load
