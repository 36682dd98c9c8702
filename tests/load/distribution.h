// Mean and percentiles of a set of samples.
//
// Thread-safe: values and functions without state.
#ifndef ANYPREC_TESTS_LOAD_DISTRIBUTION_H_
#define ANYPREC_TESTS_LOAD_DISTRIBUTION_H_

#include <cstdint>
#include <span>
#include <vector>

namespace anyprec::load {

// The value below which `percent` of the samples lie, linearly interpolated
// between the two nearest ranks (NumPy's default).
// REQUIRES: `sorted` is ascending and not empty; percent in [0, 100].
double Percentile(std::span<const double> sorted, double percent);

// All but `count` mean nothing where it is 0.
struct Distribution {
  int64_t count = 0;
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p95 = 0;
  double p99 = 0;
  double max = 0;
};

Distribution Describe(std::vector<double> samples);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_DISTRIBUTION_H_
