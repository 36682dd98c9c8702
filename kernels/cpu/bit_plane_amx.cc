// Bit-plane products of decode rows with AMX: in batches, exactly as vpdpwssd
// computes them.
//
// int16 products from byte products. With w = 256 w1 + w0 and x = 256 x1 + x0
// (w1, x1 signed, w0, x0 unsigned bytes),
//
//   sum w x = 65536 sum w1 x1 + 256 (sum w1 x0 + sum w0 x1) + sum w0 x0.
//
// Each of the four sums is exact in int32 (at most 960 * 255^2), and adding
// them modulo 2^32 gives the exact result, which fits (kMaxCentroid).
#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/bit_plane_avx512_panel.h"
#include "kernels/cpu/bit_plane_avx512_products.h"

namespace anyprec {
namespace {

// ---- Decode rows. Packed x: what Avx512Int16Gemv packs, then for each group
// of 16 rows and chunk a slice of low and one of high bytes, then the groups'
// scales [scale_blocks][16].

// From so many rows on, 16 rows of AMX cost less than that many of vpdpwssd.
constexpr int kMinAmxRows = 7;
constexpr int kChunkBytesSlices = 2;
// Groups that share one decoding; their sums stay in the first-level cache.
constexpr int kBatchGroups = 4;

// Rows [0, AmxRows) take part in AMX groups.
ANYPREC_INLINE int AmxRows(int rows) {
  return rows % 16 >= kMinAmxRows ? rows : rows - rows % 16;
}

ANYPREC_INLINE size_t WordBytes(const BitPlaneJob& job) {
  return (Avx512Int16Gemv().packed_bytes(job) + 63) / 64 * 64;
}

ANYPREC_INLINE size_t GroupBytes(const PackedWeights& weights) {
  return static_cast<size_t>(weights.chunks) * kChunkBytesSlices * kSliceBytes +
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
  return WordBytes(job) +
         (AmxRows(job.rows) + 15) / 16 * GroupBytes(job.weights);
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
    slice += kChunkBytesSlices * kSliceBytes;
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
  const int amx_rows = AmxRows(job.rows);
  for (int m = begin; m < end && m < amx_rows; m += 16) {
    PackGroup(job, m / 16, amx_rows - m < 16 ? amx_rows - m : 16);
  }
}

// A row's table as low and high bytes, repeated to fill vectors.
template <int kBits>
struct ByteTable {
  static constexpr int kVectors = RowTable<kBits>::kVectors;
  __m512i low[kVectors];
  __m512i high[kVectors];
};

template <int kBits>
ANYPREC_INLINE ByteTable<kBits> LoadByteTable(const uint8_t* tables, int row) {
  const RowTable<kBits> table = LoadTable<kBits>(tables, row);
  ByteTable<kBits> bytes;
  if constexpr (RowTable<kBits>::kWords) {
    // Bytes 0, 2, 4 .. of the 32 words, twice.
    const __m512i even = _mm512_set_epi64(
        0x3e3c3a3836343230ll, 0x2e2c2a2826242220ll, 0x1e1c1a1816141210ll,
        0x0e0c0a0806040200ll, 0x3e3c3a3836343230ll, 0x2e2c2a2826242220ll,
        0x1e1c1a1816141210ll, 0x0e0c0a0806040200ll);
    bytes.low[0] = _mm512_permutexvar_epi8(even, table.low[0]);
    bytes.high[0] = _mm512_permutexvar_epi8(
        _mm512_add_epi8(even, _mm512_set1_epi8(1)), table.low[0]);
  } else {
#pragma GCC unroll 4
    for (int i = 0; i < ByteTable<kBits>::kVectors; ++i) {
      bytes.low[i] = table.low[i];
      bytes.high[i] = table.high[i];
    }
  }
  return bytes;
}

template <int kBits>
ANYPREC_INLINE void LookupChunkBytes(const ByteTable<kBits>& table,
                                     __m512i index, uint8_t* out) {
  const __mmask64 bit6 =
      kBits > 6 ? _mm512_movepi8_mask(_mm512_slli_epi16(index, 1)) : 0;
  const __mmask64 bit7 = kBits > 7 ? _mm512_movepi8_mask(index) : 0;
  _mm512_store_si512(out, LookupBytes(table.low, index, bit6, bit7));
  _mm512_store_si512(out + kSliceBytes,
                     LookupBytes(table.high, index, bit6, bit7));
}

// Decodes a scale block of a tile to slices [chunk][low, high].
template <int kBits>
void DecodeTileToBytes(const PackedWeights& weights, int tile, int block,
                       uint8_t* slices) {
  for (int lane = 0; lane < kTileRows; ++lane) {
    const ByteTable<kBits> table =
        LoadByteTable<kBits>(weights.tables, tile * kTileRows + lane);
    uint8_t* const out = slices + lane * kVectorBytes;
    DecodeIndices<kBits>(
        weights, tile, block,
        lane, [&](int chunk, __m512i index) __attribute__((always_inline)) {
          LookupChunkBytes<kBits>(
              table, index, out + chunk * kChunkBytesSlices * kSliceBytes);
        });
  }
}

// Multiplies a decoded tile with a group and adds the scaled sums to
// totals [16 weight rows][16 rows of x].
void MultiplyBytes(const uint8_t* w, const uint8_t* x, int chunks,
                   const float* scales, float* totals) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    _tile_loadd(4, w, kVectorBytes);
    _tile_loadd(6, x, kVectorBytes);
    _tile_dpbuud(0, 4, 6);
    _tile_loadd(7, x + kSliceBytes, kVectorBytes);
    _tile_dpbusd(1, 4, 7);
    _tile_loadd(5, w + kSliceBytes, kVectorBytes);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
    w += kChunkBytesSlices * kSliceBytes;
    x += kChunkBytesSlices * kSliceBytes;
  }
  alignas(64) int32_t sums[4][kTileSums];
  _tile_stored(0, sums[0], kVectorBytes);
  _tile_stored(1, sums[1], kVectorBytes);
  _tile_stored(2, sums[2], kVectorBytes);
  _tile_stored(3, sums[3], kVectorBytes);
  const __m512 scale = _mm512_load_ps(scales);
  for (int i = 0; i < kTileSums; i += 16) {
    const __m512i middle = _mm512_add_epi32(_mm512_load_si512(sums[1] + i),
                                            _mm512_load_si512(sums[2] + i));
    const __m512i high = _mm512_add_epi32(
        _mm512_slli_epi32(_mm512_load_si512(sums[3] + i), 8), middle);
    const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(high, 8),
                                         _mm512_load_si512(sums[0] + i));
    _mm512_store_ps(
        totals + i,
        _mm512_add_ps(_mm512_load_ps(totals + i),
                      _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale)));
  }
}

// Rows of groups [first, first + groups) times one tile.
template <int kBits>
void MultiplyTileBatch(const BitPlaneJob& job, int tile, int first,
                       int groups) {
  constexpr int kMaxSlices = kMaxScaleBlockChunks * kChunkBytesSlices;
  alignas(64) uint8_t slices[kMaxSlices * kSliceBytes];
  alignas(64) float totals[kBatchGroups][kTileSums];
  const PackedWeights& weights = job.weights;
  for (int g = 0; g < groups; ++g) {
    for (int i = 0; i < kTileSums; ++i) totals[g][i] = 0.0f;
  }
  for (int block = 0; block < weights.scale_blocks; ++block) {
    DecodeTileToBytes<kBits>(weights, tile, block, slices);
    FlushStoresForTiles();
    const size_t x_offset = static_cast<size_t>(block) * kBlockChunks *
                            kChunkBytesSlices * kSliceBytes;
    for (int g = 0; g < groups; ++g) {
      MultiplyBytes(slices, GroupSlices(job, first + g) + x_offset,
                    ScaleBlockChunks(weights, block),
                    GroupScales(job, first + g) + block * 16, totals[g]);
    }
  }
  const int rows = AmxRows(job.rows);
  for (int g = 0; g < groups; ++g) {
    const int m = (first + g) * 16;
    StoreTileSums(job, tile, m, rows - m < 16 ? rows - m : 16, totals[g]);
  }
}

void MultiplyBatch(const BitPlaneJob& job, int first_tile, int last_tile) {
  const int rows = AmxRows(job.rows);
  const int groups = (rows + 15) / 16;
  if (groups > 0) {
    ConfigureTiles();
    DispatchPrecision(job.weights.precision, [&]<int kBits>() {
      for (int tile = first_tile; tile < last_tile; ++tile) {
        for (int g = 0; g < groups; g += kBatchGroups) {
          MultiplyTileBatch<kBits>(
              job, tile, g,
              groups - g < kBatchGroups ? groups - g : kBatchGroups);
        }
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
