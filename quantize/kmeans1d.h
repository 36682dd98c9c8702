// Exact weighted k-means in one dimension.
//
// In one dimension an optimal clustering is a partition of the sorted values
// into contiguous runs, so a dynamic programme over runs finds the global
// optimum (Wang and Song, "Ckmeans.1d.dp", R Journal 2011), where Lloyd's
// iteration finds a local one. With m distinct values and c clusters it takes
// O(c m log m) time, by divide and conquer over the monotone run starts, and
// O(c m) memory.
#ifndef ANYPREC_QUANTIZE_KMEANS1D_H_
#define ANYPREC_QUANTIZE_KMEANS1D_H_

#include <cstdint>
#include <span>
#include <vector>

#include "quantize/sorted_row.h"

namespace anyprec {

// Keeps its memory from row to row. Thread-compatible: one object a thread.
class KMeans1d {
 public:
  // Finds the partition of `row` into `clusters` runs of least inertia. Cluster
  // c holds the distinct values [boundaries[c], boundaries[c + 1]). No cluster
  // is empty, unless there are fewer distinct values than clusters: then each
  // has its own and the last clusters are empty. Deterministic, on every
  // instruction set alike.
  //   boundaries [clusters + 1], output
  // REQUIRES: clusters >= 1.
  void Partition(const SortedRow& row, int clusters,
                 std::span<int32_t> boundaries);

 private:
  // Of the layer before and of the layer in work: the largest sum of gains of
  // any partition of the first j values, j in [0, m].
  std::vector<double> previous_, current_;
  // [clusters, m + 1]: where the last run of that partition begins.
  std::vector<int32_t> starts_;
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_KMEANS1D_H_
