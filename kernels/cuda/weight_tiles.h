// The order in which bit planes, and the scales of groups, lie in GPU memory.
//
// A plane is cut into tiles of 16 rows (output features) by 256 columns, 512
// bytes each, stored one band of 16 rows after the other and within a band from
// left to right. n is padded to whole bands and k to whole tiles, with zero
// bits. A tile is 32 pieces of 16 bytes, one for each lane of a warp, so that a
// warp reads it in one coalesced access of 512 bytes. With g = lane / 4 and
// t = lane % 4, and word w of a row being its columns 32 w to 32 w + 31 of the
// tile, as in BitPlaneMatrix:
//
//   word of the piece |   0    |     1      |    2     |       3
//   ------------------+--------+------------+----------+--------------
//   row of the tile   |   g    |   g + 8    |    g     |     g + 8
//   word of the row   |   t    |     t      |  t + 4   |     t + 4
//
// That is the A fragment of mma.m16n8k256 with 1-bit elements. Two of its
// properties are what the kernels here use: every lane owns whole words, hence
// 32 consecutive columns, and it owns them of rows g and g + 8 alike, which are
// the two rows of A that it holds in every mma.m16n8k16.
//
// Scales lie as [band][group][beta, then the alphas][row of the band].
//
// Host code. Free functions on the caller's memory: thread-safe.
#ifndef ANYPREC_KERNELS_CUDA_WEIGHT_TILES_H_
#define ANYPREC_KERNELS_CUDA_WEIGHT_TILES_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/bit_plane.h"
#include "kernels/types.h"

namespace anyprec {

inline constexpr int kTileRows = 16;
inline constexpr int kTileColumns = 256;
inline constexpr int kTileWords = kTileRows * kTileColumns / 32;

// Bands of 16 rows that n rows take, and tiles of 256 columns that k columns
// take.
constexpr int BandCount(int n) { return (n + kTileRows - 1) / kTileRows; }
constexpr int TilesPerBand(int k) {
  return (k + kTileColumns - 1) / kTileColumns;
}

// One plane of one part of a layer, as the model file holds it.
struct PlanePart {
  const uint32_t* words = nullptr;  // [n, k / 32]
  int n = 0;
};

// Words that a plane of n rows takes in tile order.
size_t TiledWords(int n, int k);

// Writes the plane that results from stacking `parts`, all of k columns, along
// n in tile order: all TiledWords(sum of n, k) words of `tiles`.
// REQUIRES: k is a multiple of 32; `tiles` has that size.
void WriteTiles(std::span<const PlanePart> parts, int k,
                std::span<uint32_t> tiles);

// Values that the scales of n rows take at `precision`, and those of stacking
// `parts`, one precision's, along n; rows beyond n are zero.
// REQUIRES: `tiles` has that size.
size_t TiledScales(int n, int groups, int precision);
void WriteScaleTiles(std::span<const GroupScales> parts, int groups,
                     std::span<Float16> tiles);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_WEIGHT_TILES_H_
