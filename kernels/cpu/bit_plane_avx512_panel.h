// The blocked product of prefill rows, shared by the AVX-512 kernels: weights
// of up to 128 rows are decoded for one scale block at a time and multiplied
// with all rows of x, 16 rows of either making one *tile product*.
//
// Operands. A *step* is 32 bits: two bfloat16 or one fp32. Decoded weights and
// packed rows of x are sequences of 1 KiB *slices* of 16 steps:
//
//   weights [16 rows][16 steps]        x [16 steps][16 rows]
//
// so that a tile product reads whole vectors or, with AMX, whole tiles. Columns
// are in the order of the decoder. Sums are [16 weight rows][16 rows of x],
// fp32, in ascending order of slices whatever the shape of the job.
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

// Slices of a chunk: 64 columns as bfloat16 or fp32.
constexpr int kBf16ChunkSlices = 2;
constexpr int kFloat32ChunkSlices = 4;

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
  const uint8_t* weights;  // slices of the first tile
  size_t weights_stride;   // bytes from tile to tile
  int tiles;
  const uint8_t* x;  // slices of the first group of 16 rows
  size_t x_stride;   // bytes from group to group
  int groups;
  int slices;
  float* sums;  // [tiles][kMaxGroups][16][16]
  bool first;   // overwrite sums instead of adding to them
};

// A slice range of both operands at a time: 8 KiB for each of two tiles and two
// groups fit the first-level cache of 32 or 48 KiB, so that x is read from
// farther away once for all tiles of a panel.
constexpr int kStepSlices = 8;

// Multiplies a decoded panel with one scale block of x.
template <typename Kernel>
void MultiplyPanel(TileProduct panel, bool first_block) {
  const auto at_most = [](int count, int most) {
    return count < most ? count : most;
  };
  for (int slice = 0; slice < panel.slices; slice += kStepSlices) {
    for (int g = 0; g < panel.groups; g += Kernel::kGroups) {
      for (int t = 0; t < panel.tiles; t += Kernel::kTiles) {
        TileProduct product = panel;
        product.weights += t * panel.weights_stride + slice * kSliceBytes;
        product.tiles = at_most(panel.tiles - t, Kernel::kTiles);
        product.x += g * panel.x_stride + slice * kSliceBytes;
        product.groups = at_most(panel.groups - g, Kernel::kGroups);
        product.slices = at_most(panel.slices - slice, kStepSlices);
        product.sums += (t * kMaxGroups + g) * kTileSums;
        product.first = first_block && slice == 0;
        Kernel::Multiply(product);
      }
    }
  }
}

// Runs `Kernel` over tiles [first_tile, last_tile) and all rows of the job.
// Kernel has
//   kChunkSlices     slices of 64 columns
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
  panel.x_stride =
      static_cast<size_t>(weights.chunks) * Kernel::kChunkSlices * kSliceBytes;
  panel.sums = sums;
  for (int tile = first_tile; tile < last_tile; tile += kPanel) {
    panel.tiles = last_tile - tile < kPanel ? last_tile - tile : kPanel;
    for (int group = 0; group < all_groups; group += kMaxGroups) {
      panel.groups =
          all_groups - group < kMaxGroups ? all_groups - group : kMaxGroups;
      panel.x = job.packed_x + group * panel.x_stride;
      for (int block = 0; block < weights.scale_blocks; ++block) {
        panel.slices = ScaleBlockChunks(weights, block) * Kernel::kChunkSlices;
        panel.weights_stride = static_cast<size_t>(panel.slices) * kSliceBytes;
        for (int t = 0; t < panel.tiles; ++t) {
          Kernel::DecodeTile(weights, tile + t, block,
                             decoded + t * panel.weights_stride);
        }
        MultiplyPanel<Kernel>(panel, block == 0);
        panel.x += panel.weights_stride;
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

// ---- bfloat16 operands.

// 16-bit integers to bfloat16.
ANYPREC_INLINE __m512i ToBf16(__m512i int16) {
  const __m512 low =
      _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(int16)));
  const __m512 high = _mm512_cvtepi32_ps(
      _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(int16, 1)));
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// Converts a row's table, so that lookups give bfloat16 weights.
template <int kBits>
ANYPREC_INLINE void ConvertTableToBf16(RowTable<kBits>& table) {
  if constexpr (RowTable<kBits>::kWords) {
    table.low[0] = ToBf16(table.low[0]);
  } else {
    const __m512i low_mask = _mm512_set1_epi16(0x00ff);
#pragma GCC unroll 4
    for (int i = 0; i < RowTable<kBits>::kVectors; ++i) {
      const __m512i low = table.low[i];
      const __m512i high = table.high[i];
      const __m512i even =
          ToBf16(Select(low_mask, low, _mm512_slli_epi16(high, 8)));
      const __m512i odd =
          ToBf16(Select(low_mask, _mm512_srli_epi16(low, 8), high));
      table.low[i] = Select(low_mask, even, _mm512_slli_epi16(odd, 8));
      table.high[i] = Select(low_mask, _mm512_srli_epi16(even, 8), odd);
    }
  }
}

template <int kBits>
void DecodeTileToBf16(const PackedWeights& weights, int tile, int block,
                      uint8_t* slices) {
  for (int lane = 0; lane < kTileRows; ++lane) {
    RowTable<kBits> table =
        LoadTable<kBits>(weights.tables, tile * kTileRows + lane);
    ConvertTableToBf16<kBits>(table);
    uint8_t* const out = slices + lane * kVectorBytes;
    DecodeScaleBlock<kBits>(
        weights, table, tile, block,
        lane, [&](int vector, __m512i w) __attribute__((always_inline)) {
          _mm512_store_si512(out + vector * kSliceBytes, w);
        });
  }
}

inline size_t Bf16Bytes(const BitPlaneJob& job) {
  return static_cast<size_t>((job.rows + 15) / 16) * job.weights.chunks *
         kBf16ChunkSlices * kSliceBytes;
}

// 32 columns from `column` on as bfloat16; zeros beyond k.
ANYPREC_INLINE __m512i LoadBf16(const float* x, int column, int k) {
  if (column >= k) return _mm512_setzero_si512();
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(
      _mm512_loadu_ps(x + column + 16), _mm512_loadu_ps(x + column)));
}

inline void PackBf16(const BitPlaneJob& job, int begin, int end) {
  const int k = job.weights.k;
  const __m512i even_words = EvenWords();
  const __m512i odd_words = OddWords();
  for (int first = begin; first < end; first += 16) {
    const int rows = end - first < 16 ? end - first : 16;
    uint8_t* out = job.packed_x + static_cast<size_t>(first) / 16 *
                                      job.weights.chunks * kBf16ChunkSlices *
                                      kSliceBytes;
    for (int column = 0; column < job.weights.chunks * kChunkColumns;
         column += kChunkColumns) {
      __m512i even[16];
      __m512i odd[16];
      for (int i = 0; i < 16; ++i) {
        even[i] = odd[i] = _mm512_setzero_si512();
        if (i >= rows) continue;
        const float* const x = job.x + static_cast<size_t>(first + i) * k;
        const __m512i low = LoadBf16(x, column, k);
        const __m512i high = LoadBf16(x, column + 32, k);
        even[i] = _mm512_permutex2var_epi16(low, even_words, high);
        odd[i] = _mm512_permutex2var_epi16(low, odd_words, high);
      }
      StoreSlice(even, out);
      StoreSlice(odd, out + kSliceBytes);
      out += kBf16ChunkSlices * kSliceBytes;
    }
  }
}

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_PANEL_H_
