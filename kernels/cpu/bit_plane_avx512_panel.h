// The blocked product of many rows, shared by the AVX-512 kernels: a panel of
// 64 or 128 rows of weights is decoded for one scale block at a time and
// multiplied with all rows of x, 16 rows of either making one *tile product*.
//
// Operands. A *step* is 32 bits: four bytes, two 16-bit values or one fp32.
// Decoded weights and packed rows of x are sequences of 1 KiB *slices* of 16
// steps:
//
//   weights [16 rows][16 steps]        x [16 steps][16 rows]
//
// so that a tile product reads whole vectors or, with AMX, whole tiles. A chunk
// of 64 columns takes one slice or more, in the order of the decoder; a kernel
// may have more to say about x, behind the slices of a chunk or of a scale
// block. Sums are [16 weight rows][16 rows of x], fp32, in ascending order of
// columns whatever the shape of the job.
//
// For translation units compiled for AVX-512 only; see bit_plane_avx512.h.
#ifndef ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_PANEL_H_
#define ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_PANEL_H_

#include "kernels/cpu/bit_plane_avx512.h"

// Internal linkage on purpose: code for one instruction set must not be linked
// into code for another.
// NOLINTBEGIN(google-build-namespaces,misc-definitions-in-headers)
namespace anyprec {
namespace {

constexpr int kSliceBytes = 1024;
constexpr int kTileSums = 256;  // [16][16]

// Rows of x that a thread carries through all blocks at once, in groups of 16.
// With 8 tiles of weights their sums take 256 KiB, a fraction of the 1 to 2 MiB
// of second-level cache.
constexpr int kMaxGroups = 32;
// Chunks of the longest scale block: a block and its tail.
constexpr int kMaxScaleBlockChunks = 2 * kBlockChunks - 1;

// Transposes 16 x 16 dwords in place.
ANYPREC_INLINE void Transpose(__m512i (&v)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    v[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    v[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    v[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(v[i], v[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(v[i], v[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    v[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    v[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
    v[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

ANYPREC_INLINE void StoreSlice(__m512i (&rows)[16], uint8_t* slice) {
  Transpose(rows);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    _mm512_store_si512(slice + i * kVectorBytes, rows[i]);
  }
}

ANYPREC_INLINE int ScaleBlockChunks(const PackedWeights& weights, int block) {
  return (weights.blocks > 0 ? kBlockChunks : 0) +
         (block == weights.scale_blocks - 1 ? weights.tail_chunks : 0);
}

// Columns of the chunk that begins at `first`: 64, or 32 in the last one.
ANYPREC_INLINE int ChunkColumns(int columns, int first) {
  return columns - first < kChunkColumns ? columns - first : kChunkColumns;
}

// Bytes of a packed scale block, and of all, of 16 rows of x.
template <typename Way>
ANYPREC_INLINE size_t PackedBlockBytes(const PackedWeights& weights,
                                       int block) {
  return ScaleBlockChunks(weights, block) * size_t{Way::kXChunkBytes} +
         Way::kXScalesBytes;
}

template <typename Way>
ANYPREC_INLINE size_t PackedGroupBytes(const PackedWeights& weights) {
  return weights.chunks * size_t{Way::kXChunkBytes} +
         weights.scale_blocks * size_t{Way::kXScalesBytes};
}

template <typename Way>
size_t PackedBytes(const BitPlaneJob& job) {
  return (job.rows + 15) / 16 * PackedGroupBytes<Way>(job.weights);
}

// Packs rows [begin, end) of x. Way::PackBlock(x, rows, k, columns, out) packs
// the scale block of `columns` columns from x on, of `rows` rows k apart, at
// most 16.
template <typename Way>
void PackGroups(const BitPlaneJob& job, int begin, int end) {
  const PackedWeights& weights = job.weights;
  for (int first = begin; first < end; first += 16) {
    const float* const x = job.x + static_cast<size_t>(first) * weights.k;
    uint8_t* out = job.packed_x + first / 16 * PackedGroupBytes<Way>(weights);
    for (int block = 0; block < weights.scale_blocks; ++block) {
      const int column = block * kBlockColumns;
      const int left = weights.k - column;
      const int columns = ScaleBlockChunks(weights, block) * kChunkColumns;
      Way::PackBlock(x + column, end - first < 16 ? end - first : 16, weights.k,
                     columns < left ? columns : left, out);
      out += PackedBlockBytes<Way>(weights, block);
    }
  }
}

// Writes y from sums [16 weight rows][16 rows of x] of rows [m, m + rows).
inline void StoreTileSums(const BitPlaneJob& job, int tile, int m, int rows,
                          const float* sums) {
  __m512i v[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = _mm512_load_si512(sums + 16 * i);
  Transpose(v);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    if (i < rows) StoreTileRow(job, tile, m + i, _mm512_castsi512_ps(v[i]));
  }
}

// Products of up to `tiles` x `groups` tiles, as many as a kernel takes.
struct TileProduct {
  const uint8_t* weights;  // chunks of the first tile
  size_t weights_stride;   // bytes from tile to tile
  int tiles;
  const uint8_t* x;  // chunks of the first group of 16 rows
  size_t x_stride;   // bytes from group to group
  int groups;
  int chunks;
  float* sums;  // [tiles][kMaxGroups][16][16]
  bool first;   // overwrite sums instead of adding to them
};

// Slices of both operands that a kernel may take in a step: 8 KiB for each of
// two tiles and two groups fit the first-level cache of 32 or 48 KiB, so that x
// is read from farther away once for all tiles of a panel.
constexpr int kStepSlices = 8;

// Multiplies a decoded panel with one scale block of x.
template <typename Kernel>
void MultiplyPanel(TileProduct panel, bool first_block) {
  constexpr int kStep = Kernel::kStepChunks;
  const auto at_most = [](int count, int most) {
    return count < most ? count : most;
  };
  for (int chunk = 0; chunk < panel.chunks; chunk += kStep) {
    for (int g = 0; g < panel.groups; g += Kernel::kGroups) {
      for (int t = 0; t < panel.tiles; t += Kernel::kTiles) {
        TileProduct product = panel;
        product.weights += t * panel.weights_stride +
                           chunk * Kernel::kChunkSlices * kSliceBytes;
        product.tiles = at_most(panel.tiles - t, Kernel::kTiles);
        product.x += g * panel.x_stride + chunk * Kernel::kXChunkBytes;
        product.groups = at_most(panel.groups - g, Kernel::kGroups);
        product.chunks = at_most(panel.chunks - chunk, kStep);
        product.sums += (t * kMaxGroups + g) * kTileSums;
        product.first = first_block && chunk == 0;
        Kernel::Multiply(product);
      }
    }
  }
}

// Runs `Kernel` over tiles [first_tile, last_tile) and all rows of the job.
// Kernel has
//   kChunkSlices     slices of 64 columns
//   kXChunkBytes     bytes of 64 columns of 16 rows of x: its slices, and more
//   kXScalesBytes    bytes that follow the chunks of a scale block of x
//   kStepChunks      chunks multiplied at a time
//   kPanelTiles      tiles of weights decoded at a time
//   kTiles, kGroups  tile products that Multiply takes
//   DecodeTile(weights, tile, block, slices)
//   Multiply(product)
template <typename Kernel>
void MultiplyPanels(const BitPlaneJob& job, int first_tile, int last_tile) {
  constexpr int kPanel = Kernel::kPanelTiles;
  constexpr int kMaxSlices = kMaxScaleBlockChunks * Kernel::kChunkSlices;
  alignas(64) uint8_t decoded[kPanel * kMaxSlices * kSliceBytes];
  alignas(64) float sums[kPanel * kMaxGroups * kTileSums];
  const PackedWeights& weights = job.weights;
  const int all_groups = (job.rows + 15) / 16;
  TileProduct panel = {};
  panel.weights = decoded;
  panel.x_stride = PackedGroupBytes<Kernel>(weights);
  panel.sums = sums;
  for (int tile = first_tile; tile < last_tile; tile += kPanel) {
    panel.tiles = last_tile - tile < kPanel ? last_tile - tile : kPanel;
    for (int group = 0; group < all_groups; group += kMaxGroups) {
      panel.groups =
          all_groups - group < kMaxGroups ? all_groups - group : kMaxGroups;
      panel.x = job.packed_x + group * panel.x_stride;
      for (int block = 0; block < weights.scale_blocks; ++block) {
        panel.chunks = ScaleBlockChunks(weights, block);
        panel.weights_stride = static_cast<size_t>(panel.chunks) *
                               Kernel::kChunkSlices * kSliceBytes;
        for (int t = 0; t < panel.tiles; ++t) {
          Kernel::DecodeTile(weights, tile + t, block,
                             decoded + t * panel.weights_stride);
        }
        MultiplyPanel<Kernel>(panel, block == 0);
        panel.x += PackedBlockBytes<Kernel>(weights, block);
      }
      // Tiles of one group in turn: they are neighbours in y.
      for (int g = 0; g < panel.groups; ++g) {
        const int m = (group + g) * 16;
        for (int t = 0; t < panel.tiles; ++t) {
          StoreTileSums(job, tile + t, m, job.rows - m < 16 ? job.rows - m : 16,
                        sums + (t * kMaxGroups + g) * kTileSums);
        }
      }
    }
  }
}

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_PANEL_H_
