#include "tests/load/rate_search.h"

#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec::load {
namespace {

class RateSearch {
 public:
  RateSearch(const RateSearchOptions& options, const MeasureGoodput& measure)
      : options_(options), measure_(measure) {}

  absl::StatusOr<HighestRate> Find(double goodput) {
    HighestRate result;
    result.goodput = goodput;
    ASSIGN_OR_RETURN(const double at_min, Goodput(options_.min_rate_rps));
    if (at_min < goodput) return result;
    ASSIGN_OR_RETURN(const double at_max, Goodput(options_.max_rate_rps));
    if (at_max >= goodput) {
      result.rate_rps = options_.max_rate_rps;
      result.at_max = true;
      return result;
    }
    while (true) {
      const auto [low, high] = Bracket(goodput);
      result.rate_rps = low;
      if (high <= low * (1 + options_.tolerance)) return result;
      RETURN_IF_ERROR(Goodput(std::sqrt(low * high)).status());
    }
  }

 private:
  struct Rates {
    double low;   // reaches the share
    double high;  // the lowest that does not
  };

  absl::StatusOr<double> Goodput(double rate_rps) {
    const auto known = measured_.find(rate_rps);
    if (known != measured_.end()) return known->second;
    ASSIGN_OR_RETURN(const double goodput, measure_(rate_rps));
    measured_[rate_rps] = goodput;
    return goodput;
  }

  // REQUIRES: the lowest rate measured reaches it, and some other does not.
  Rates Bracket(double goodput) const {
    Rates rates = {};
    for (const auto& [rate, reached] : measured_) {
      rates.high = rate;
      if (reached < goodput) break;
      rates.low = rate;
    }
    return rates;
  }

  const RateSearchOptions& options_;
  const MeasureGoodput& measure_;
  std::map<double, double> measured_;
};

}  // namespace

absl::StatusOr<std::vector<HighestRate>> FindHighestRates(
    const std::vector<double>& goodputs, const RateSearchOptions& options,
    const MeasureGoodput& measure) {
  if (!(options.min_rate_rps > 0) ||
      !(options.max_rate_rps >= options.min_rate_rps) ||
      !(options.tolerance >= 0.001)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rates are searched in [", options.min_rate_rps, ", ",
        options.max_rate_rps, "] with tolerance ", options.tolerance,
        "; bounds must be above 0 and ascending, the tolerance at least "
        "0.001"));
  }
  RateSearch search(options, measure);
  std::vector<HighestRate> results;
  for (const double goodput : goodputs) {
    ASSIGN_OR_RETURN(const HighestRate result, search.Find(goodput));
    results.push_back(result);
  }
  return results;
}

}  // namespace anyprec::load
