#include "quantize/upscale.h"

#include <cstddef>

#include "kernels/check.h"

namespace anyprec {
namespace {

// Where the right half begins in the best split of a run of two values or more.
int BestSplit(const SortedRow& row, int begin, int end) {
  int best = begin + 1;
  double best_gain = -1.0;
  for (int split = begin + 1; split < end; ++split) {
    const double gain = row.Gain(begin, split) + row.Gain(split, end);
    if (gain > best_gain) {
      best_gain = gain;
      best = split;
    }
  }
  return best;
}

}  // namespace

void SplitClusters(const SortedRow& row, std::span<const int32_t> boundaries,
                   std::span<int32_t> children) {
  const size_t clusters = boundaries.size() - 1;
  ANYPREC_CHECK(children.size() == 2 * clusters + 1);
  for (size_t c = 0; c < clusters; ++c) {
    const int begin = boundaries[c];
    const int end = boundaries[c + 1];
    children[2 * c] = begin;
    children[2 * c + 1] = end - begin < 2 ? end : BestSplit(row, begin, end);
  }
  children[2 * clusters] = boundaries[clusters];
}

void ComputeCentroids(const SortedRow& row, std::span<const int32_t> boundaries,
                      std::span<const double> inherited,
                      std::span<double> centroids) {
  const size_t clusters = centroids.size();
  ANYPREC_CHECK(boundaries.size() == clusters + 1);
  ANYPREC_CHECK(inherited.empty() || inherited.size() == clusters / 2);
  for (size_t c = 0; c < clusters; ++c) {
    if (boundaries[c] < boundaries[c + 1]) {
      centroids[c] = row.Mean(boundaries[c], boundaries[c + 1]);
    } else if (!inherited.empty()) {
      centroids[c] = inherited[c / 2];
    } else {
      // The first cluster of a seed always holds a value.
      centroids[c] = centroids[c - 1];
    }
  }
}

}  // namespace anyprec
