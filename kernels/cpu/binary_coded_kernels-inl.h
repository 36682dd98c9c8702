// Products of activations with binary-coded tiles (see kernel_table.h for
// both). Included by the kernels_*.cc only.
//
// A plane's part of a group is alpha * sum of +-x, and kTableBits neighbouring
// columns have but 2^kTableBits such sums. They are built once for a row of x
// and serve all rows of W: a lookup, whose index is the word shifted to them,
// then does the work of as many multiply-adds, on bits as they lie in memory.
#ifndef ANYPREC_KERNELS_CPU_BINARY_CODED_KERNELS_INL_H_
#define ANYPREC_KERNELS_CPU_BINARY_CODED_KERNELS_INL_H_

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/simd.h"

// Internal linkage on purpose: code for one instruction set must not be linked
// into code for another.
// NOLINTBEGIN(google-build-namespaces,misc-definitions-in-headers)
namespace anyprec {
namespace {

constexpr int kWordColumns = 32;

// Tables of a word. Where kTableBits does not divide 32, the last one is for
// fewer columns, and the bits above them are 0.
constexpr int kTableFloats = 1 << kTableBits;
constexpr int kWordTables = (kWordColumns + kTableBits - 1) / kTableBits;
constexpr int kWordFloats = kWordTables * kTableFloats;

// The signs with which column j enters each sum of a table: bit j of its index.
struct TableSigns {
  float of_column[kTableBits][16];
};
constexpr TableSigns MakeTableSigns() {
  TableSigns signs = {};
  for (int j = 0; j < kTableBits; ++j) {
    for (int i = 0; i < 16; ++i) {
      signs.of_column[j][i] = i >> j & 1 ? 1.0f : -1.0f;
    }
  }
  return signs;
}
constexpr TableSigns kTableSigns = MakeTableSigns();

void BuildTables(const float* x, int k, int group_size, float* tables,
                 float* sums) {
  for (int begin = 0; begin < k; begin += group_size) {
    const int end = begin + group_size < k ? begin + group_size : k;
    F32x16 sum = Splat(0);
    for (int c = begin; c < end; c += 16) sum = Add(sum, Load(x + c));
    *sums++ = SumLanes(sum);
  }
  for (int word = 0; word < k / kWordColumns; ++word, x += kWordColumns) {
    for (int first = 0; first < kWordColumns; first += kTableBits) {
      F32x16 sum = Splat(0);
      for (int j = 0; j < kTableBits && first + j < kWordColumns; ++j) {
        sum = MulAdd(Splat(x[first + j]), Load(kTableSigns.of_column[j]), sum);
      }
      StoreTable(sum, tables);
      tables += kTableFloats;
    }
  }
}

// Planes taken together, so that their sums hide each other's latency: with 16
// registers, three planes of two vectors hold 12, sums and words. With 32 all
// eight fit, in two sums each, since the two of two planes would be too few.
// Portable code has registers for one.
constexpr int kMostPlanes = kVectors == 32 ? 8 : kVectors == 8 ? 3 : 1;
constexpr int kSums = kVectors == 32 ? 2 : 1;

// Weights come from memory, the prefetcher of which stops at page boundaries.
// As far ahead as for panels.
ANYPREC_INLINE void PrefetchWord(const uint32_t* words) {
  __builtin_prefetch(reinterpret_cast<const char*>(words) + 2048);
}

// y + the sum over kPlanes planes of alpha * the sum of +-x over a group.
//   planes  the group's words of each plane
//   alphas  [kPlanes][16]
template <int kPlanes>
ANYPREC_INLINE F32x16 AddPlanes(const uint32_t* const* planes, size_t offset,
                                int words, const float* tables,
                                const uint16_t* alphas, F32x16 y) {
  constexpr int kRounds = (kPlanes + kMostPlanes - 1) / kMostPlanes;
  constexpr int kTaken = (kPlanes + kRounds - 1) / kRounds;
  F32x16 sums[kTaken][kSums];
  const uint32_t* plane[kTaken];
  for (int p = 0; p < kTaken; ++p) {
    plane[p] = planes[p] + offset;
    for (F32x16& sum : sums[p]) sum = Splat(0);
  }
  const float* table = tables;
  for (int word = 0; word < words; ++word) {
    I32x16 bits[kTaken];
#pragma GCC unroll 8
    for (int p = 0; p < kTaken; ++p) {
      bits[p] = LoadInt(plane[p]);
      PrefetchWord(plane[p]);
      plane[p] += kPanelRows;
    }
    // A loop: of all lookups in a row, gcc would put off the sums.
#pragma GCC unroll 1
    for (int t = 0; t < kWordTables; t += kSums) {
#pragma GCC unroll 2
      for (int i = 0; i < kSums; ++i, table += kTableFloats) {
#pragma GCC unroll 8
        for (int p = 0; p < kTaken; ++p) {
          sums[p][i] = Add(sums[p][i], Lookup(table, bits[p]));
          bits[p] = ShiftRight<kTableBits>(bits[p]);
        }
      }
    }
  }
  for (int p = 0; p < kTaken; ++p) {
    for (int i = 1; i < kSums; ++i) sums[p][0] = Add(sums[p][0], sums[p][i]);
    y = MulAdd(LoadF16(alphas + p * kPanelRows), sums[p][0], y);
  }
  if constexpr (kTaken < kPlanes) {
    return AddPlanes<kPlanes - kTaken>(planes + kTaken, offset, words, tables,
                                       alphas + kTaken * kPanelRows, y);
  } else {
    return y;
  }
}

template <int kPrecision>
void MultiplyByTablesAt(const BinaryCodedTile& tile, const float* tables,
                        const float* sums, float* out) {
  const uint16_t* scales = tile.scales;
  F32x16 y = Splat(0);
  for (int begin = 0; begin < tile.k; begin += tile.group_size) {
    const int columns =
        tile.group_size < tile.k - begin ? tile.group_size : tile.k - begin;
    const size_t first_word = begin / kWordColumns;
    y = MulAdd(LoadF16(scales), Splat(*sums++), y);
    y = AddPlanes<kPrecision>(
        tile.planes, first_word * kPanelRows, columns / kWordColumns,
        tables + first_word * kWordFloats, scales + kPanelRows, y);
    scales += (1 + kPrecision) * kPanelRows;
  }
  Store(y, out);
}

// Calls function.template operator()<precision>().
template <int kPrecision = 8, typename Function>
ANYPREC_INLINE void WithPrecision(int precision, Function function) {
  if constexpr (kPrecision > 2) {
    if (precision < kPrecision) {
      return WithPrecision<kPrecision - 1>(precision, function);
    }
  }
  return function.template operator()<kPrecision>();
}

void MultiplyByTables(const BinaryCodedTile& tile, const float* tables,
                      const float* sums, float* out) {
  WithPrecision(tile.precision, [&]<int kPrecision>() {
    MultiplyByTablesAt<kPrecision>(tile, tables, sums, out);
  });
}

// Adds in the order of BinaryCodedWeight(), whose bits these weights have.
template <int kPrecision>
void DecodeBinaryCodedAt(const BinaryCodedTile& tile, int begin, int end,
                         float* panel) {
  for (; begin < end; begin += kWordColumns) {
    const uint16_t* scales =
        tile.scales + static_cast<size_t>(begin / tile.group_size) *
                          (1 + kPrecision) * kPanelRows;
    const F32x16 beta = LoadF16(scales);
    F32x16 minus_alpha[kPrecision];
    I32x16 bits[kPrecision];
    for (int p = 0; p < kPrecision; ++p) {
      scales += kPanelRows;
      minus_alpha[p] = Sub(Splat(0), LoadF16(scales));
      bits[p] = LoadInt(tile.planes[p] +
                        static_cast<size_t>(begin) / kWordColumns * kPanelRows);
    }
    for (int column = 0; column < kWordColumns; ++column) {
      F32x16 weight = beta;
#pragma GCC unroll 8
      for (int p = 0; p < kPrecision; ++p) {
        const I32x16 bit = ShiftLeft(bits[p], kWordColumns - 1 - column);
        weight = Add(weight, FlipSign(minus_alpha[p], bit));
      }
      Store(weight, panel);
      panel += kPanelRows;
    }
  }
}

void DecodeBinaryCoded(const BinaryCodedTile& tile, int begin, int end,
                       float* panel) {
  WithPrecision(tile.precision, [&]<int kPrecision>() {
    DecodeBinaryCodedAt<kPrecision>(tile, begin, end, panel);
  });
}

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_BINARY_CODED_KERNELS_INL_H_
