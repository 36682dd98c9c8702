// Bit-plane products of decode rows with AMX: in batches, exactly as vpdpwssd
// computes them.
//
// int16 products from byte products. With w = 256 w1 + w0 and x = 256 x1 + x0
// (w1, x1 signed, w0, x0 unsigned bytes),
//
//   sum w x = 65536 sum w1 x1 + 256 (sum w1 x0 + sum w0 x1) + sum w0 x0.
//
// Each of the four sums is exact in int32 (at most 960 * 255^2), and adding
// them modulo 2^32 gives the exact result, which fits (kMaxCentroid). Where a
// weight is a byte (kByteTableBits), it is w1 with a factor less, and two of
// the sums are all.
#include <type_traits>

#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/bit_plane_avx512_bytes.h"
#include "kernels/cpu/bit_plane_avx512_panel.h"
#include "kernels/cpu/bit_plane_avx512_products.h"

namespace anyprec {
namespace {

// ---- Decode rows. Packed x: what Avx512Int16Gemv packs, then for each group
// of 16 rows and chunk a slice of low and one of high bytes, then the groups'
// scales [scale_blocks][16].

constexpr int kXChunkSlices = 2;

// From so many rows on, 16 rows of AMX cost less than that many of vpdpwssd.
ANYPREC_INLINE int MinAmxRows(const PackedWeights& weights) {
  return weights.precision <= kByteTableBits ? 5 : 7;
}

// Groups that share one decoding; their sums stay in the first-level cache.
constexpr int kBatchGroups = 4;

// Rows [0, AmxRows) take part in AMX groups.
ANYPREC_INLINE int AmxRows(const BitPlaneJob& job) {
  const int left = job.rows % 16;
  return left >= MinAmxRows(job.weights) ? job.rows : job.rows - left;
}

ANYPREC_INLINE size_t WordBytes(const BitPlaneJob& job) {
  return (Avx512Int16Gemv().packed_bytes(job) + 63) / 64 * 64;
}

ANYPREC_INLINE size_t GroupBytes(const PackedWeights& weights) {
  return static_cast<size_t>(weights.chunks) * kXChunkSlices * kSliceBytes +
         static_cast<size_t>(weights.scale_blocks) * kVectorBytes;
}

ANYPREC_INLINE uint8_t* GroupSlices(const BitPlaneJob& job, int group) {
  return job.packed_x + WordBytes(job) + group * GroupBytes(job.weights);
}

ANYPREC_INLINE float* GroupScales(const BitPlaneJob& job, int group) {
  return reinterpret_cast<float*>(GroupSlices(job, group + 1)) -
         job.weights.scale_blocks * 16;
}

size_t BatchBytes(const BitPlaneJob& job) {
  return WordBytes(job) + (AmxRows(job) + 15) / 16 * GroupBytes(job.weights);
}

// Splits the packed words of a group's rows into slices of bytes.
void PackGroup(const BitPlaneJob& job, int group, int rows) {
  const PackedWeights& weights = job.weights;
  const __m512i low_mask = _mm512_set1_epi16(0x00ff);
  uint8_t* slice = GroupSlices(job, group);
  const size_t row_bytes =
      static_cast<size_t>(weights.chunks) * kChunkVectors * kVectorBytes;
  const uint8_t* words = job.packed_x + group * 16 * row_bytes;
  for (int chunk = 0; chunk < weights.chunks; ++chunk) {
    __m512i low[16];
    __m512i high[16];
    for (int i = 0; i < 16; ++i) {
      low[i] = high[i] = _mm512_setzero_si512();
      if (i >= rows) continue;
      const __m512i even = _mm512_load_si512(words + i * row_bytes);
      const __m512i odd =
          _mm512_load_si512(words + i * row_bytes + kVectorBytes);
      low[i] = Select(low_mask, even, _mm512_slli_epi16(odd, 8));
      high[i] = Select(low_mask, _mm512_srli_epi16(even, 8), odd);
    }
    StoreSlice(low, slice);
    StoreSlice(high, slice + kSliceBytes);
    slice += kXChunkSlices * kSliceBytes;
    words += kChunkVectors * kVectorBytes;
  }
  float* const scales = GroupScales(job, group);
  for (int block = 0; block < weights.scale_blocks; ++block) {
    for (int i = 0; i < 16; ++i) {
      scales[block * 16 + i] =
          i < rows ? Avx512Int16Scales(job, group * 16 + i)[block] : 0.0f;
    }
  }
}

void PackBatch(const BitPlaneJob& job, int begin, int end) {
  Avx512Int16Gemv().pack(job, begin, end);
  const int amx_rows = AmxRows(job);
  for (int m = begin; m < end && m < amx_rows; m += 16) {
    PackGroup(job, m / 16, amx_rows - m < 16 ? amx_rows - m : 16);
  }
}

// A way to multiply has
//   kMaxTiles     tiles of weights that Multiply takes
//   kChunkSlices  slices of 64 of their columns
//   DecodeRow<kBits>(weights, tile, block, lane, out)
//       one row of a tile, its slices kSliceBytes apart
//   Multiply<kTiles>(w, w_stride, x, chunks, scale, totals)
//       adds the products of that many tiles, w_stride bytes apart, with a
//       group's scale block to totals [tiles][kBatchGroups][16][16], scaled

// totals += sums * scale, both [16 weight rows][16 rows of x].
template <typename Sum>
ANYPREC_INLINE void AddScaled(Sum sum, __m512 scale, float* totals) {
#pragma GCC unroll 4
  for (int i = 0; i < kTileSums; i += 16) {
    _mm512_store_ps(
        totals + i,
        _mm512_add_ps(_mm512_load_ps(totals + i),
                      _mm512_mul_ps(_mm512_cvtepi32_ps(sum(i)), scale)));
  }
}

// Tables of bytes: no w0, so two products for each weight.
struct ByteTables {
  static constexpr int kMaxTiles = 2;
  static constexpr int kChunkSlices = 1;

  template <int kBits>
  static ANYPREC_INLINE void DecodeRow(const PackedWeights& weights, int tile,
                                       int block, int lane, uint8_t* out) {
    DecodeRowToBytes<kBits>(
        weights, LoadByteTable<kBits>(weights.tables, tile * kTileRows + lane),
        tile, block, lane, out);
  }

  template <int kTiles>
  static void Multiply(const uint8_t* w, size_t w_stride, const uint8_t* x,
                       int chunks, __m512 scale, float* totals) {
    ZeroSums<kTiles, 2>();
    for (int chunk = 0; chunk < chunks; ++chunk) {
      _tile_loadd(4, w, kVectorBytes);
      _tile_loadd(6, x, kVectorBytes);
      _tile_dpbsud(0, 4, 6);
      _tile_loadd(7, x + kSliceBytes, kVectorBytes);
      _tile_dpbssd(1, 4, 7);
      if constexpr (kTiles == 2) {
        _tile_loadd(5, w + w_stride, kVectorBytes);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
      }
      w += kSliceBytes;
      x += kXChunkSlices * kSliceBytes;
    }
    alignas(64) int32_t sums[kTiles][2][kTileSums];
    StoreSums<kTiles, 2>(sums[0][0], 2 * kTileSums);
    for (int t = 0; t < kTiles; ++t) {
      const auto sum = [&](int i) __attribute__((always_inline)) {
        return _mm512_add_epi32(
            _mm512_slli_epi32(_mm512_load_si512(sums[t][1] + i), 8),
            _mm512_load_si512(sums[t][0] + i));
      };
      AddScaled(sum, scale, totals + t * kBatchGroups * kTileSums);
    }
  }
};

// Tables of int16, decoded to a slice of low and one of high bytes.
struct WordTables {
  static constexpr int kMaxTiles = 1;
  static constexpr int kChunkSlices = 2;

  template <int kBits>
  static ANYPREC_INLINE void DecodeRow(const PackedWeights& weights, int tile,
                                       int block, int lane, uint8_t* out) {
    const RowTable<kBits> table =
        LoadTable<kBits>(weights.tables, tile * kTileRows + lane);
    DecodeIndices<kBits>(
        weights, tile, block,
        lane, [&](int chunk, __m512i index) __attribute__((always_inline)) {
          const __mmask64 bit6 =
              kBits > 6 ? _mm512_movepi8_mask(_mm512_slli_epi16(index, 1)) : 0;
          const __mmask64 bit7 = kBits > 7 ? _mm512_movepi8_mask(index) : 0;
          uint8_t* const slices = out + chunk * kChunkSlices * kSliceBytes;
          _mm512_store_si512(slices, LookupBytes(table.low, index, bit6, bit7));
          _mm512_store_si512(slices + kSliceBytes,
                             LookupBytes(table.high, index, bit6, bit7));
        });
  }

  template <int kTiles>
  static void Multiply(const uint8_t* w, size_t, const uint8_t* x, int chunks,
                       __m512 scale, float* totals) {
    ZeroSums<2, 2>();
    for (int chunk = 0; chunk < chunks; ++chunk) {
      _tile_loadd(4, w, kVectorBytes);
      _tile_loadd(6, x, kVectorBytes);
      _tile_dpbuud(0, 4, 6);
      _tile_loadd(7, x + kSliceBytes, kVectorBytes);
      _tile_dpbusd(1, 4, 7);
      _tile_loadd(5, w + kSliceBytes, kVectorBytes);
      _tile_dpbsud(2, 5, 6);
      _tile_dpbssd(3, 5, 7);
      w += kChunkSlices * kSliceBytes;
      x += kXChunkSlices * kSliceBytes;
    }
    alignas(64) int32_t sums[4][kTileSums];
    StoreSums<2, 2>(sums[0], 2 * kTileSums);
    const auto sum = [&](int i) __attribute__((always_inline)) {
      const __m512i middle = _mm512_add_epi32(_mm512_load_si512(sums[1] + i),
                                              _mm512_load_si512(sums[2] + i));
      const __m512i high = _mm512_add_epi32(
          _mm512_slli_epi32(_mm512_load_si512(sums[3] + i), 8), middle);
      return _mm512_add_epi32(_mm512_slli_epi32(high, 8),
                              _mm512_load_si512(sums[0] + i));
    };
    AddScaled(sum, scale, totals);
  }
};

// Rows of groups [first, first + groups) times tiles [tile, tile + kTiles).
template <typename Way, int kBits, int kTiles>
void MultiplyTiles(const BitPlaneJob& job, int tile, int first, int groups) {
  constexpr int kMaxSlices = kMaxScaleBlockChunks * Way::kChunkSlices;
  alignas(64) uint8_t slices[kTiles][kMaxSlices * kSliceBytes];
  alignas(64) float totals[kTiles][kBatchGroups][kTileSums];
  const PackedWeights& weights = job.weights;
  for (int t = 0; t < kTiles; ++t) {
    for (int g = 0; g < groups; ++g) {
      for (int i = 0; i < kTileSums; ++i) totals[t][g][i] = 0.0f;
    }
  }
  for (int block = 0; block < weights.scale_blocks; ++block) {
    for (int t = 0; t < kTiles; ++t) {
      for (int lane = 0; lane < kTileRows; ++lane) {
        Way::template DecodeRow<kBits>(weights, tile + t, block, lane,
                                       slices[t] + lane * kVectorBytes);
      }
    }
    FlushStoresForTiles();
    const size_t x_offset =
        static_cast<size_t>(block) * kBlockChunks * kXChunkSlices * kSliceBytes;
    for (int g = 0; g < groups; ++g) {
      Way::template Multiply<kTiles>(
          slices[0], sizeof(slices[0]), GroupSlices(job, first + g) + x_offset,
          ScaleBlockChunks(weights, block),
          _mm512_load_ps(GroupScales(job, first + g) + block * 16),
          totals[0][g]);
    }
  }
  const int rows = AmxRows(job);
  for (int g = 0; g < groups; ++g) {
    const int m = (first + g) * 16;
    for (int t = 0; t < kTiles; ++t) {
      StoreTileSums(job, tile + t, m, rows - m < 16 ? rows - m : 16,
                    totals[t][g]);
    }
  }
}

template <typename Way, int kBits>
void MultiplyGroups(const BitPlaneJob& job, int first_tile, int last_tile,
                    int first, int groups) {
  int tile = first_tile;
  for (; tile + Way::kMaxTiles <= last_tile; tile += Way::kMaxTiles) {
    MultiplyTiles<Way, kBits, Way::kMaxTiles>(job, tile, first, groups);
  }
  if (tile < last_tile) MultiplyTiles<Way, kBits, 1>(job, tile, first, groups);
}

void MultiplyBatch(const BitPlaneJob& job, int first_tile, int last_tile) {
  const int rows = AmxRows(job);
  const int groups = (rows + 15) / 16;
  if (groups > 0) {
    ConfigureTiles();
    DispatchPrecision(job.weights.precision, [&]<int kBits>() {
      using Way =
          std::conditional_t<kBits <= kByteTableBits, ByteTables, WordTables>;
      for (int g = 0; g < groups; g += kBatchGroups) {
        MultiplyGroups<Way, kBits>(
            job, first_tile, last_tile, g,
            groups - g < kBatchGroups ? groups - g : kBatchGroups);
      }
    });
    _tile_release();
  }
  if (rows < job.rows) {
    Avx512MultiplyInt16Rows(job, first_tile, last_tile, rows, job.rows);
  }
}

}  // namespace

BitPlaneProduct AmxInt8Decode() {
  return {BatchBytes, PackBatch, MultiplyBatch};
}

}  // namespace anyprec
