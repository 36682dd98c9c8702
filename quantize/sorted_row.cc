#include "quantize/sorted_row.h"

#include <algorithm>
#include <array>
#include <bit>

#include "kernels/check.h"
#include "quantize/effective_weights.h"

namespace anyprec {
namespace {

// Flips a float's bits so that unsigned order is numeric order.
uint32_t SortKey(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

}  // namespace

void SortedRow::Assign(std::span<const float> values,
                       std::span<const float> sample_weights) {
  ANYPREC_CHECK(!values.empty());
  Sort(values);
  column_weights_.resize(values.size());
  EffectiveSampleWeights(sample_weights, column_weights_);
  MergeEqualValues(values);

  double weight_sum = 0, moment_sum = 0;
  for (int i = 0; i < size(); ++i) {
    weight_sum += weights_[i];
    moment_sum += weights_[i] * values_[i];
  }
  const double mean = moment_sum / weight_sum;
  weight_sums_.assign(1, 0.0);
  moment_sums_.assign(1, 0.0);
  for (int i = 0; i < size(); ++i) {
    weight_sums_.push_back(weight_sums_[i] + weights_[i]);
    moment_sums_.push_back(moment_sums_[i] + weights_[i] * (values_[i] - mean));
  }
}

// Least significant digit first: four stable counting passes over bytes, those
// skipped in which all keys agree (bf16 values leave two bytes empty).
void SortedRow::Sort(std::span<const float> values) {
  constexpr int kDigits = 4;
  std::array<std::array<uint32_t, 256>, kDigits> counts = {};
  const size_t k = values.size();
  entries_.resize(k);
  sort_buffer_.resize(k);
  for (size_t i = 0; i < k; ++i) {
    // Adding zero turns -0 into +0, its equal.
    const uint32_t key = SortKey(values[i] + 0.0f);
    entries_[i] = {key, static_cast<int32_t>(i)};
    for (int digit = 0; digit < kDigits; ++digit) {
      ++counts[digit][key >> (8 * digit) & 255];
    }
  }
  for (int digit = 0; digit < kDigits; ++digit) {
    const int shift = 8 * digit;
    if (counts[digit][entries_[0].key >> shift & 255] == k) continue;
    uint32_t position = 0;
    for (uint32_t& count : counts[digit]) {
      const uint32_t next = position + count;
      count = position;
      position = next;
    }
    for (const Entry& entry : entries_) {
      sort_buffer_[counts[digit][entry.key >> shift & 255]++] = entry;
    }
    entries_.swap(sort_buffer_);
  }
}

void SortedRow::MergeEqualValues(std::span<const float> values) {
  values_.clear();
  weights_.clear();
  ranks_.resize(values.size());
  for (size_t i = 0; i < entries_.size(); ++i) {
    const int32_t column = entries_[i].column;
    const double weight = column_weights_[column];
    if (i > 0 && entries_[i].key == entries_[i - 1].key) {
      weights_.back() += weight;
    } else {
      values_.push_back(values[column] + 0.0f);
      weights_.push_back(weight);
    }
    ranks_[column] = size() - 1;
  }
}

double SortedRow::Mean(int begin, int end) const {
  // Summed afresh: a difference of prefix sums loses what a light run beside
  // heavy ones has to say.
  double weight_sum = 0, moment_sum = 0;
  for (int i = begin; i < end; ++i) {
    weight_sum += weights_[i];
    moment_sum += weights_[i] * values_[i];
  }
  return std::clamp<double>(moment_sum / weight_sum, values_[begin],
                            values_[end - 1]);
}

double SortedRow::SquaredError(int begin, int end, double centroid) const {
  double sum = 0;
  for (int i = begin; i < end; ++i) {
    const double error = values_[i] - centroid;
    sum += weights_[i] * error * error;
  }
  return sum;
}

}  // namespace anyprec
