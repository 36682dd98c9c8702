// Weights of a linear layer as bit planes and per-precision codebooks
// (Any-Precision LLM, ICML 2024, section 4). Views only: nothing here owns.
#ifndef ANYPREC_KERNELS_BIT_PLANE_H_
#define ANYPREC_KERNELS_BIT_PLANE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/types.h"

namespace anyprec {

inline constexpr int kMinBits = 2;
inline constexpr int kMaxBits = 8;
// The precision that stands for an unquantized checkpoint.
inline constexpr int kUnquantizedBits = 16;

// Codebook indices of one linear layer W[n, k], as bit planes.
//
// Plane i holds bit i of every codebook index, most significant first. A model
// of p bits reads planes [0, p) and nothing else: this prefix property lets one
// file serve every precision. Bit j of word w of a row is column 32 w + j:
//
//   word w of a row:   bit 31 | ... | bit 1    | bit 0
//   column:         32 w + 31 | ... | 32 w + 1 | 32 w
//
// Invariants:
//   1. planes.size() is the number of planes at hand, in [1, kMaxBits]; planes
//      above an operator's --max_bits are simply absent.
//   2. each plane is [n, k / 32] words, row-major, 64-byte aligned.
//   3. k is a multiple of 32.
struct BitPlaneMatrix {
  std::span<const uint32_t* const> planes;
  int n = 0;  // output features (rows)
  int k = 0;  // input features (columns)

  size_t words_per_row() const { return static_cast<size_t>(k) / 32; }
};

// Centroids of every row of a linear layer at one precision.
struct Codebook {
  int precision = 0;              // p
  std::span<const Float16> data;  // [n, 2^p], row-major
};

// The p-bit codebook index of W[row, column].
inline int CodeAt(const BitPlaneMatrix& matrix, int precision, int row,
                  int column) {
  const size_t word = row * matrix.words_per_row() + column / 32;
  int code = 0;
  for (int plane = 0; plane < precision; ++plane) {
    const uint32_t bit = matrix.planes[plane][word] >> (column % 32) & 1u;
    code = code << 1 | static_cast<int>(bit);
  }
  return code;
}

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_BIT_PLANE_H_
