#include "tests/load/distribution.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "kernels/check.h"

namespace anyprec::load {

double Percentile(std::span<const double> sorted, double percent) {
  ANYPREC_CHECK(!sorted.empty() && percent >= 0 && percent <= 100)
      << sorted.size() << " samples, percentile " << percent;
  const double rank = percent / 100 * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above],
                   rank - static_cast<double>(below));
}

Distribution Describe(std::vector<double> samples) {
  Distribution result;
  result.count = static_cast<int64_t>(samples.size());
  if (samples.empty()) return result;
  std::sort(samples.begin(), samples.end());
  result.mean = std::accumulate(samples.begin(), samples.end(), 0.0) /
                static_cast<double>(samples.size());
  result.p50 = Percentile(samples, 50);
  result.p90 = Percentile(samples, 90);
  result.p95 = Percentile(samples, 95);
  result.p99 = Percentile(samples, 99);
  result.max = samples.back();
  return result;
}

}  // namespace anyprec::load
