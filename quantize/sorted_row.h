// The distinct values of one row of a weight matrix in ascending order, with
// what clustering needs to price any contiguous run of them in O(1).
//
// Equal values are one entry whose sample weights are added up, so that they
// always share a cluster and the result never depends on a sort's order of
// ties.
#ifndef ANYPREC_QUANTIZE_SORTED_ROW_H_
#define ANYPREC_QUANTIZE_SORTED_ROW_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace anyprec {

// Holds one row at a time and keeps its memory for the next. Thread-compatible:
// one object a thread.
class SortedRow {
 public:
  // Sorts `values` [k]. `sample_weights` [k], or empty for an unweighted row;
  // used as EffectiveSampleWeights() has them.
  // REQUIRES: k > 0; values and weights finite, weights not negative.
  void Assign(std::span<const float> values,
              std::span<const float> sample_weights);

  // Distinct values.
  int size() const { return static_cast<int>(values_.size()); }
  std::span<const float> values() const { return values_; }
  // Effective sample weight of each distinct value.
  std::span<const double> weights() const { return weights_; }
  // [k]: the index into values() of each column.
  std::span<const int32_t> ranks() const { return ranks_; }

  // Sums over the first i distinct values, i in [0, size()]: of w, and of
  // w * (x - m) with m the row's weighted mean (less cancellation than w * x).
  const double* weight_sums() const { return weight_sums_.data(); }
  const double* moment_sums() const { return moment_sums_.data(); }

  // The part of a run's inertia that depends on where it begins and ends: the
  // inertia of a partition is a constant minus the sum of its runs' gains, so
  // the best partition has the largest sum.
  double Gain(int begin, int end) const {
    const double moment = moment_sums_[end] - moment_sums_[begin];
    return moment * moment / (weight_sums_[end] - weight_sums_[begin]);
  }

  // The weighted mean of a run, never outside of it.
  // REQUIRES: 0 <= begin < end <= size().
  double Mean(int begin, int end) const;

  // Sum of w * (x - centroid)^2 over a run.
  double SquaredError(int begin, int end, double centroid) const;

 private:
  struct Entry {
    uint32_t key;  // orders as the float does
    int32_t column;
  };

  void Sort(std::span<const float> values);
  void MergeEqualValues(std::span<const float> values);

  std::vector<Entry> entries_, sort_buffer_;
  std::vector<double> column_weights_;
  std::vector<float> values_;
  std::vector<double> weights_;
  std::vector<int32_t> ranks_;
  std::vector<double> weight_sums_, moment_sums_;
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_SORTED_ROW_H_
