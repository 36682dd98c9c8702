// What quantizing one row of a linear layer yields, whatever its codes stand
// for: the codes, and the fp16 values that the file keeps beside the planes.
#ifndef ANYPREC_QUANTIZE_ROW_QUANTIZER_H_
#define ANYPREC_QUANTIZE_ROW_QUANTIZER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/bit_plane.h"
#include "kernels/types.h"

namespace anyprec {

// The precisions of a parent model, each with its own codebook or scales.
// Invariant: kMinBits <= seed_bits <= parent_bits <= kMaxBits.
struct PrecisionRange {
  int seed_bits = 3;
  int parent_bits = 8;

  int count() const { return parent_bits - seed_bits + 1; }
};

// What the bits of a code stand for.
enum class Scheme {
  kCodebooks,   // "iu": an index into a codebook of the row
  kBinaryCoded  // "bcq": signs of the scales of a group
};

// What a parent model holds of each row. As QuantizationConfig, in numbers.
struct RowFormat {
  PrecisionRange range;
  Scheme scheme = Scheme::kCodebooks;
  int group_size = -1;  // columns of a group; -1 with codebooks

  // fp16 values of one precision, of a row with codebooks or of a group: 2^p
  // centroids, or p alphas and a beta.
  size_t ValuesOf(int precision) const {
    return scheme == Scheme::kCodebooks ? size_t{1} << precision
                                        : static_cast<size_t>(precision) + 1;
  }

  // The values of a row of `k` columns as consecutive fields, each a row of one
  // of the file's tensors: for ascending precisions its centroids [2^p], or its
  // alphas [groups, p] and then its betas [groups].
  std::vector<size_t> Fields(int k) const;
  // The sum of Fields(k).
  size_t ValuesPerRow(int k) const;
};

// Sums over the columns of a row, w its sample weights scaled to mean 1.
struct RowError {
  // w * (x - q_p(x))^2, of precision seed_bits + i at [i], with the values as
  // stored in fp16. Never increases with the precision.
  std::array<double, kMaxBits - kMinBits + 1> squared_error = {};
  double squared_norm = 0;  // w * x^2
};

// Keeps its memory from row to row. Thread-compatible: one object a thread.
class RowQuantizer {
 public:
  virtual ~RowQuantizer() = default;

  // Deterministic. The p-bit code of a column is its parent code shifted right
  // by parent_bits - p. A weight of exactly zero is a value like any other: its
  // sample weight counts.
  //   values          [k], finite, |x| <= 65504 (the range of fp16)
  //   sample_weights  [k], finite, not negative; or empty: unweighted
  //   codes           [k], parent_bits each, output
  //   stored          [ValuesPerRow(k)], as Fields() says, output
  virtual RowError Quantize(std::span<const float> values,
                            std::span<const float> sample_weights,
                            std::span<uint8_t> codes,
                            std::span<Float16> stored) = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_ROW_QUANTIZER_H_
