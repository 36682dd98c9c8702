// Weights of a linear layer as bit planes and, for each precision, what its
// bits stand for: a codebook of each row (Any-Precision LLM, ICML 2024,
// section 4), or scales of each group of columns (AnyBCQ, ICLR 2026,
// section 3). Views only: nothing here owns.
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

// Codes of one linear layer W[n, k], as bit planes.
//
// Plane i holds bit i of every code, most significant first. A model
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

// Centroids of every row of a linear layer at one precision: the weight of code
// c is centroid c of its row.
struct Codebook {
  int precision = 0;              // p
  std::span<const Float16> data;  // [n, 2^p], row-major
};

// Scales of every group of a linear layer at one precision. A group is
// `group_size` columns of a row, a multiple of 32; a row's last group has fewer
// where k is no multiple of that. BinaryCodedWeight() says what they mean.
struct GroupScales {
  int precision = 0;               // p
  int group_size = 0;              // the same at every precision
  std::span<const Float16> alpha;  // [n, groups, p], most significant bit first
  std::span<const Float16> beta;   // [n, groups]
};

// Groups of a row.
constexpr int GroupCount(int k, int group_size) {
  return (k + group_size - 1) / group_size;
}

// The weight of `code` in a group of those scales: beta + the sum of all
// alphas, each with the sign of its bit, added up in fp32 in this order.
inline float BinaryCodedWeight(int code, std::span<const Float16> alpha,
                               Float16 beta) {
  float weight = ToFloat(beta);
  for (size_t i = 0; i < alpha.size(); ++i) {
    const float scale = ToFloat(alpha[i]);
    weight += code >> (alpha.size() - 1 - i) & 1 ? scale : -scale;
  }
  return weight;
}

// The p-bit code of W[row, column].
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
