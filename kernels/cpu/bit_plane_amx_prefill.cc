// Prefill products with AMX: bfloat16, sums in fp32.
#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/bit_plane_avx512_panel.h"
#include "kernels/cpu/bit_plane_avx512_products.h"

namespace anyprec {
namespace {

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

// Activations.
struct Bf16 {
  static constexpr int kChunkSlices = kChunkVectors;
  static constexpr int kXChunkBytes = kChunkSlices * kSliceBytes;
  static constexpr int kXScalesBytes = 0;

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

// Two tiles of weights times two groups of x: four tile registers of sums, and
// each of the four operands loaded serves two products.
template <int kTileCount, int kGroupCount>
void MultiplyTilePairs(const TileProduct& product) {
  const uint8_t* const w = product.weights;
  const uint8_t* const w1 = w + product.weights_stride;
  const uint8_t* const x = product.x;
  const uint8_t* const x1 = x + product.x_stride;
  float* const sums = product.sums;
  float* const sums1 = sums + kMaxGroups * kTileSums;
  const int bytes = product.chunks * Bf16::kChunkSlices * kSliceBytes;
  if (product.first) {
    _tile_zero(0);
    if constexpr (kGroupCount == 2) _tile_zero(1);
    if constexpr (kTileCount == 2) _tile_zero(2);
    if constexpr (kTileCount + kGroupCount == 4) _tile_zero(3);
  } else {
    _tile_loadd(0, sums, kVectorBytes);
    if constexpr (kGroupCount == 2) {
      _tile_loadd(1, sums + kTileSums, kVectorBytes);
    }
    if constexpr (kTileCount == 2) _tile_loadd(2, sums1, kVectorBytes);
    if constexpr (kTileCount + kGroupCount == 4) {
      _tile_loadd(3, sums1 + kTileSums, kVectorBytes);
    }
  }
  for (int offset = 0; offset < bytes; offset += kSliceBytes) {
    _tile_loadd(4, w + offset, kVectorBytes);
    _tile_loadd(6, x + offset, kVectorBytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kGroupCount == 2) {
      _tile_loadd(7, x1 + offset, kVectorBytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kTileCount == 2) {
      _tile_loadd(5, w1 + offset, kVectorBytes);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (kTileCount + kGroupCount == 4) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, kVectorBytes);
  if constexpr (kGroupCount == 2) {
    _tile_stored(1, sums + kTileSums, kVectorBytes);
  }
  if constexpr (kTileCount == 2) _tile_stored(2, sums1, kVectorBytes);
  if constexpr (kTileCount + kGroupCount == 4) {
    _tile_stored(3, sums1 + kTileSums, kVectorBytes);
  }
}

template <int kBits>
struct AmxBf16Kernel : Bf16 {
  static constexpr int kStepChunks = kStepSlices / kChunkSlices;
  // 128 rows of weights: a block of x, read from the last-level cache or even
  // memory, then serves 128 x 32 sums at 8 bytes a cycle.
  static constexpr int kPanelTiles = 8;
  static constexpr int kTiles = 2;
  static constexpr int kGroups = 2;

  static void DecodeTile(const PackedWeights& weights, int tile, int block,
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

  static void Multiply(const TileProduct& product) {
    FlushStoresForTiles();
    if (product.tiles == 2 && product.groups == 2) {
      MultiplyTilePairs<2, 2>(product);
    } else if (product.tiles == 2) {
      MultiplyTilePairs<2, 1>(product);
    } else if (product.groups == 2) {
      MultiplyTilePairs<1, 2>(product);
    } else {
      MultiplyTilePairs<1, 1>(product);
    }
  }
};

void MultiplyAmxBf16(const BitPlaneJob& job, int first_tile, int last_tile) {
  ConfigureTiles();
  DispatchPrecision(job.weights.precision, [&]<int kBits>() {
    MultiplyPanels<AmxBf16Kernel<kBits>>(job, first_tile, last_tile);
  });
  _tile_release();
}

}  // namespace

BitPlaneProduct AmxBf16Prefill() {
  return {PackedBytes<Bf16>, PackGroups<Bf16>, MultiplyAmxBf16};
}

}  // namespace anyprec
