// Histogram: how many values lay below each of a few bounds, as Prometheus
// wants them.
#ifndef ANYPREC_RUNTIME_ENGINE_HISTOGRAM_H_
#define ANYPREC_RUNTIME_ENGINE_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace anyprec {

// A value.
class Histogram {
 public:
  // `bounds` ascend and live for ever.
  explicit Histogram(std::span<const double> bounds)
      : bounds_(bounds), counts_(bounds.size() + 1, 0) {}

  void Add(double value) {
    const size_t bucket =
        std::lower_bound(bounds_.begin(), bounds_.end(), value) -
        bounds_.begin();
    ++counts_[bucket];
    sum_ += value;
  }

  std::span<const double> bounds() const { return bounds_; }
  // counts()[i]: values in (bounds()[i - 1], bounds()[i]]; the last one has no
  // upper bound.
  const std::vector<int64_t>& counts() const { return counts_; }
  double sum() const { return sum_; }

 private:
  std::span<const double> bounds_;
  std::vector<int64_t> counts_;
  double sum_ = 0;
};

// Fine around 1 ms, what a small model or a fast device takes, and as far as a
// reader would wait.
inline std::span<const double> InterTokenSecondsBounds() {
  static constexpr std::array kBounds = {
      0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075,
      0.01,   0.015, 0.02,   0.03,  0.04,  0.05,  0.075, 0.1,
      0.15,   0.2,   0.3,    0.5,   0.75,  1.0,   2.0,   5.0};
  return kBounds;
}

// Of a measured time to a predicted one: 1 is right.
inline std::span<const double> RatioBounds() {
  static constexpr std::array kBounds = {0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0,
                                         1.05, 1.1, 1.2, 1.3, 1.5, 2.0,  4.0};
  return kBounds;
}

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_HISTOGRAM_H_
