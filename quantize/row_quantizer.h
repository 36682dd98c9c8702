// Quantizes one row of a linear layer at every precision of a parent model:
// sort, exact seed clustering, then a chain of exact splits.
//
// A weight of exactly zero is a value like any other: its sample weight counts.
#ifndef ANYPREC_QUANTIZE_ROW_QUANTIZER_H_
#define ANYPREC_QUANTIZE_ROW_QUANTIZER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/bit_plane.h"
#include "kernels/types.h"
#include "quantize/kmeans1d.h"
#include "quantize/sorted_row.h"

namespace anyprec {

// The precisions of a parent model, each with its own codebook.
// Invariant: kMinBits <= seed_bits <= parent_bits <= kMaxBits.
struct PrecisionRange {
  int seed_bits = 3;
  int parent_bits = 8;

  int count() const { return parent_bits - seed_bits + 1; }
  // Centroids of one row at all precisions: 2^seed + ... + 2^parent.
  size_t centroids_per_row() const {
    return (size_t{2} << parent_bits) - (size_t{1} << seed_bits);
  }
  // Where those of `precision` begin among them.
  size_t CentroidOffset(int precision) const {
    return (size_t{1} << precision) - (size_t{1} << seed_bits);
  }
};

// Sums over the columns of a row, w its sample weights scaled to mean 1.
struct RowError {
  // w * (x - q_p(x))^2, of precision seed_bits + i at [i], with the codebook as
  // stored in fp16. Never increases with the precision.
  std::array<double, kMaxBits - kMinBits + 1> squared_error = {};
  double squared_norm = 0;  // w * x^2
};

// Keeps its memory from row to row. Thread-compatible: one object a thread.
class RowQuantizer {
 public:
  explicit RowQuantizer(const PrecisionRange& range);

  // Deterministic. The p-bit code of a column is its parent code shifted right
  // by parent_bits - p. Centroids are the weighted means of their clusters,
  // rounded to fp16: as inertia grows with the distance to the mean, the
  // nearest fp16 number is the best.
  //   values          [k], finite, |x| <= 65504 (the range of fp16)
  //   sample_weights  [k], finite, not negative; or empty: unweighted
  //   codes           [k], parent_bits each, output
  //   codebooks       [range.centroids_per_row()], ascending precision, output
  RowError Quantize(std::span<const float> values,
                    std::span<const float> sample_weights,
                    std::span<uint8_t> codes, std::span<Float16> codebooks);

 private:
  PrecisionRange range_;
  SortedRow row_;
  KMeans1d kmeans_;
  // Of the precision in work and of the one before it.
  std::vector<int32_t> boundaries_, previous_boundaries_;
  std::vector<double> centroids_, previous_centroids_;
  std::vector<uint8_t> code_of_rank_;
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_ROW_QUANTIZER_H_
