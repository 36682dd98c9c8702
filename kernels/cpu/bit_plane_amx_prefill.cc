// Prefill products with AMX: up to kMaxByteBits bits in int8, of which a tile
// holds twice as many, above in bfloat16.
#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/bit_plane_avx512_bytes.h"
#include "kernels/cpu/bit_plane_avx512_panel.h"
#include "kernels/cpu/bit_plane_avx512_products.h"

namespace anyprec {
namespace {

// A way to multiply has what PackGroups asks for, and
//   DecodeRow<kBits>(weights, tile, block, lane, out)
//       one row of a tile, its slices kSliceBytes apart
//   MultiplyRegisters<kSum>()
//       adds to register kSum: see MultiplySlices
//   Multiply<kTiles, kGroups>(product)
//       that many tiles of weights times that many groups of x

// Two tiles of weights, in registers 4 and 5, times two groups of x, in 6 and
// 7: each operand that is loaded serves two products. The sums are registers 0
// and 1 of the first tile, 2 and 3 of the second.
template <typename Way, int kTiles, int kGroups>
ANYPREC_INLINE void MultiplySlices(const TileProduct& product) {
  const uint8_t* const w = product.weights;
  const uint8_t* const w1 = w + product.weights_stride;
  const uint8_t* const x = product.x;
  const uint8_t* const x1 = x + product.x_stride;
  constexpr int kXSlice = Way::kXChunkBytes / Way::kChunkSlices;
  const int slices = product.chunks * Way::kChunkSlices;
  for (int slice = 0; slice < slices; ++slice) {
    const int offset = slice * kSliceBytes;
    const int x_offset = slice * kXSlice;
    _tile_loadd(4, w + offset, kVectorBytes);
    _tile_loadd(6, x + x_offset, kVectorBytes);
    Way::template MultiplyRegisters<0>();
    if constexpr (kGroups == 2) {
      _tile_loadd(7, x1 + x_offset, kVectorBytes);
      Way::template MultiplyRegisters<1>();
    }
    if constexpr (kTiles == 2) {
      _tile_loadd(5, w1 + offset, kVectorBytes);
      Way::template MultiplyRegisters<2>();
    }
    if constexpr (kTiles + kGroups == 4) Way::template MultiplyRegisters<3>();
  }
}

// From the sums of a tile to those of the next: see TileProduct.
constexpr int kTileStride = kMaxGroups * kTileSums;

// ---- bfloat16, sums in fp32.

template <int kTiles, int kGroups>
ANYPREC_INLINE void LoadSums(const float* sums) {
  _tile_loadd(0, sums, kVectorBytes);
  if constexpr (kGroups == 2) _tile_loadd(1, sums + kTileSums, kVectorBytes);
  if constexpr (kTiles == 2) _tile_loadd(2, sums + kTileStride, kVectorBytes);
  if constexpr (kTiles + kGroups == 4) {
    _tile_loadd(3, sums + kTileStride + kTileSums, kVectorBytes);
  }
}

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

// 32 columns from `column` on as bfloat16; zeros from column `end` on.
ANYPREC_INLINE __m512i LoadBf16(const float* x, int column, int end) {
  if (column >= end) return _mm512_setzero_si512();
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(
      _mm512_loadu_ps(x + column + 16), _mm512_loadu_ps(x + column)));
}

struct Bf16 {
  static constexpr int kChunkSlices = kChunkVectors;
  static constexpr int kXChunkBytes = kChunkSlices * kSliceBytes;
  static constexpr int kXScalesBytes = 0;
  static constexpr int kStepChunks = kStepSlices / kChunkSlices;

  template <int kSum>
  static ANYPREC_INLINE void MultiplyRegisters() {
    if constexpr (kSum == 0) _tile_dpbf16ps(0, 4, 6);
    if constexpr (kSum == 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (kSum == 2) _tile_dpbf16ps(2, 5, 6);
    if constexpr (kSum == 3) _tile_dpbf16ps(3, 5, 7);
  }

  template <int kTiles, int kGroups>
  static void Multiply(const TileProduct& product) {
    if (product.first) {
      ZeroSums<kTiles, kGroups>();
    } else {
      LoadSums<kTiles, kGroups>(product.sums);
    }
    MultiplySlices<Bf16, kTiles, kGroups>(product);
    StoreSums<kTiles, kGroups>(product.sums, kTileStride);
  }

  template <int kBits>
  static ANYPREC_INLINE void DecodeRow(const PackedWeights& weights, int tile,
                                       int block, int lane, uint8_t* out) {
    RowTable<kBits> table =
        LoadTable<kBits>(weights.tables, tile * kTileRows + lane);
    ConvertTableToBf16<kBits>(table);
    DecodeScaleBlock<kBits>(
        weights, table, tile, block,
        lane, [&](int vector, __m512i w) __attribute__((always_inline)) {
          _mm512_store_si512(out + vector * kSliceBytes, w);
        });
  }

  static ANYPREC_INLINE void PackBlock(const float* x, int rows, int k,
                                       int columns, uint8_t* out) {
    for (int column = 0; column < columns; column += kChunkColumns) {
      __m512i even[16] = {};
      __m512i odd[16] = {};
      for (int i = 0; i < rows; ++i) {
        const float* const row = x + static_cast<size_t>(i) * k;
        const __m512i low = LoadBf16(row, column, columns);
        const __m512i high = LoadBf16(row, column + 32, columns);
        even[i] = _mm512_permutex2var_epi16(low, EvenWords(), high);
        odd[i] = _mm512_permutex2var_epi16(low, OddWords(), high);
      }
      StoreSlice(even, out);
      StoreSlice(odd, out + kSliceBytes);
      out += kXChunkBytes;
    }
  }
};

// ---- int8, sums in int32.

// A sum is over kStepChunks chunks, which share a scale for each row of x. A
// chunk of x is its slice, and then
//
//   scales  [16 rows] fp32
struct Bytes {
  static constexpr int kChunkSlices = 1;
  static constexpr int kXChunkBytes = kSliceBytes + kVectorBytes;
  static constexpr int kXScalesBytes = 0;
  // After each step sums leave their registers to become fp32, which takes
  // longer than a chunk does. One step for a scale block, 512 columns or more,
  // would be 1.2 times as fast, and cost three to five times the perplexity
  // (kMaxByteBits); steps of two chunks would be 0.87 times as fast.
  static constexpr int kStepChunks = 3;

  template <int kSum>
  static ANYPREC_INLINE void MultiplyRegisters() {
    if constexpr (kSum == 0) _tile_dpbssd(0, 4, 6);
    if constexpr (kSum == 1) _tile_dpbssd(1, 4, 7);
    if constexpr (kSum == 2) _tile_dpbssd(2, 5, 6);
    if constexpr (kSum == 3) _tile_dpbssd(3, 5, 7);
  }

  template <int kTiles, int kGroups>
  static void Multiply(const TileProduct& product) {
    alignas(64) int32_t sums[kTiles][2][kTileSums];
    ZeroSums<kTiles, kGroups>();
    MultiplySlices<Bytes, kTiles, kGroups>(product);
    StoreSums<kTiles, kGroups>(sums[0][0], 2 * kTileSums);
    const uint8_t* const scales = product.x + kSliceBytes;
    for (int t = 0; t < kTiles; ++t) {
      for (int g = 0; g < kGroups; ++g) {
        AddScaled(sums[t][g], _mm512_load_ps(scales + g * product.x_stride),
                  product.first,
                  product.sums + t * kTileStride + g * kTileSums);
      }
    }
  }

  static ANYPREC_INLINE void AddScaled(const int32_t* sums, __m512 scale,
                                       bool first, float* totals) {
#pragma GCC unroll 4
    for (int i = 0; i < kTileSums; i += 16) {
      const __m512 before =
          first ? _mm512_setzero_ps() : _mm512_load_ps(totals + i);
      _mm512_store_ps(
          totals + i,
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + i)),
                          scale, before));
    }
  }

  template <int kBits>
  static ANYPREC_INLINE void DecodeRow(const PackedWeights& weights, int tile,
                                       int block, int lane, uint8_t* out) {
    DecodeRowToBytes<kBits>(
        weights, LoadByteTable<kBits>(weights.tables, tile * kTileRows + lane),
        tile, block, lane, out);
  }

  static ANYPREC_INLINE void PackBlock(const float* x, int rows, int k,
                                       int columns, uint8_t* out) {
    constexpr int kStepColumns = kStepChunks * kChunkColumns;
    for (int step = 0; step < columns; step += kStepColumns) {
      const int end =
          columns - step < kStepColumns ? columns : step + kStepColumns;
      alignas(64) float scales[16] = {};
      float inverse[16];
      for (int i = 0; i < rows; ++i) {
        const float scale =
            ByteScale(x + static_cast<size_t>(i) * k + step, end - step);
        scales[i] = scale;
        inverse[i] = InverseScale(scale);
      }
      for (int first = step; first < end; first += kChunkColumns) {
        __m512i slice[16] = {};
        for (int i = 0; i < rows; ++i) {
          slice[i] = QuantizeToBytes(x + static_cast<size_t>(i) * k + first,
                                     ChunkColumns(columns, first), inverse[i]);
        }
        StoreSlice(slice, out);
        _mm512_store_ps(out + kSliceBytes, _mm512_load_ps(scales));
        out += kXChunkBytes;
      }
    }
  }
};

// ---- Products.

template <typename Way, int kBits>
struct Kernel : Way {
  // 128 rows of weights: a block of x, read from the last-level cache or even
  // memory, then serves 128 x 32 sums at 8 bytes a cycle.
  static constexpr int kPanelTiles = 8;
  static constexpr int kTiles = 2;
  static constexpr int kGroups = 2;

  static void DecodeTile(const PackedWeights& weights, int tile, int block,
                         uint8_t* slices) {
    for (int lane = 0; lane < kTileRows; ++lane) {
      Way::template DecodeRow<kBits>(weights, tile, block, lane,
                                     slices + lane * kVectorBytes);
    }
  }

  static void Multiply(const TileProduct& product) {
    FlushStoresForTiles();
    if (product.tiles == 2 && product.groups == 2) {
      Way::template Multiply<2, 2>(product);
    } else if (product.tiles == 2) {
      Way::template Multiply<2, 1>(product);
    } else if (product.groups == 2) {
      Way::template Multiply<1, 2>(product);
    } else {
      Way::template Multiply<1, 1>(product);
    }
  }
};

size_t XBytes(const BitPlaneJob& job) {
  return job.weights.precision <= kMaxByteBits ? PackedBytes<Bytes>(job)
                                               : PackedBytes<Bf16>(job);
}

void PackX(const BitPlaneJob& job, int begin, int end) {
  if (job.weights.precision <= kMaxByteBits) {
    PackGroups<Bytes>(job, begin, end);
  } else {
    PackGroups<Bf16>(job, begin, end);
  }
}

void Multiply(const BitPlaneJob& job, int first_tile, int last_tile) {
  ConfigureTiles();
  DispatchPrecision(job.weights.precision, [&]<int kBits>() {
    if constexpr (kBits <= kMaxByteBits) {
      MultiplyPanels<Kernel<Bytes, kBits>>(job, first_tile, last_tile);
    } else {
      MultiplyPanels<Kernel<Bf16, kBits>>(job, first_tile, last_tile);
    }
  });
  _tile_release();
}

}  // namespace

BitPlaneProduct AmxPrefill() { return {XBytes, PackX, Multiply}; }

}  // namespace anyprec
