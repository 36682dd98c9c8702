// Incremental upscaling (Any-Precision LLM, ICML 2024, section 3.2): from the
// clusters of p bits to those of p + 1, by splitting each in two.
//
// Cluster c becomes clusters 2c (left) and 2c + 1 (right). So the p-bit code of
// a weight is its n-bit code shifted right by n - p, on which one parent model
// for all precisions stands. Splits are the exact 2-means optimum, found by one
// scan over the cluster.
#ifndef ANYPREC_QUANTIZE_UPSCALE_H_
#define ANYPREC_QUANTIZE_UPSCALE_H_

#include <cstdint>
#include <span>

#include "quantize/sorted_row.h"

namespace anyprec {

// Splits every cluster of `boundaries` [clusters + 1] (see KMeans1d). A cluster
// of one value or none is its own left child and leaves the right one empty.
//   children [2 * clusters + 1], output
void SplitClusters(const SortedRow& row, std::span<const int32_t> boundaries,
                   std::span<int32_t> children);

// Weighted means of clusters; an empty one takes over `inherited`, or where
// that is empty (the seed) the centroid before it.
//   inherited  [clusters / 2] centroids of the parents, or empty
//   centroids  [clusters], output; not aliased with `inherited`
void ComputeCentroids(const SortedRow& row, std::span<const int32_t> boundaries,
                      std::span<const double> inherited,
                      std::span<double> centroids);

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_UPSCALE_H_
