// Stages that the AVX-512 bit-plane kernels share: from planes to codebook
// indices, from indices to 16-bit table values, and from 16 vectors of partial
// sums to one vector of sums.
//
// For translation units compiled for AVX-512 only. All is in an anonymous
// namespace, so that none of it can be linked into code for other machines.
#ifndef ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_H_
#define ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_H_

#include <float.h>
#include <immintrin.h>

#include "kernels/cpu/bit_plane_kernels.h"

// Internal linkage on purpose: code for one instruction set must not be linked
// into code for another.
// NOLINTBEGIN(google-build-namespaces,misc-definitions-in-headers)
namespace anyprec {
namespace {

// The bits of a row in one plane: 64 bytes of a block, 8 of a tail chunk.
constexpr int kRowBytes = 64;
constexpr int kTailRowBytes = 8;
constexpr int kVectorBytes = 64;

// A chunk's 64 columns as two vectors of 16-bit lanes: those of even columns,
// then those of odd ones. Activations are packed in the same order.
constexpr int kChunkVectors = 2;
constexpr int kBlockVectors = kChunkVectors * kBlockChunks;

#define ANYPREC_INLINE inline __attribute__((always_inline))

// mask ? a : b, bit by bit.
ANYPREC_INLINE __m512i Select(__m512i mask, __m512i a, __m512i b) {
  return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}

// Indices for vpermi2w that take even and odd words of 64.
ANYPREC_INLINE __m512i EvenWords() {
  const __m512i lanes =
      _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_add_epi32(
      _mm512_mullo_epi32(lanes, _mm512_set1_epi32(0x00040004)),
      _mm512_set1_epi32(0x00020000));
}

ANYPREC_INLINE __m512i OddWords() {
  return _mm512_add_epi32(EvenWords(), _mm512_set1_epi32(0x00010001));
}

// gf2p8affineqb takes bit j of byte i of the result from byte 7 - j of the same
// 64-bit lane of `planes`, namely the bit that byte i of `unit_bytes` has set.
ANYPREC_INLINE __m512i SelectBits(__m512i planes, uint64_t unit_bytes) {
  return _mm512_gf2p8affine_epi64_epi8(
      _mm512_set1_epi64(static_cast<int64_t>(unit_bytes)), planes, 0);
}

// Byte i takes bits i: transposes the 8 x 8 bits of each 64-bit lane.
ANYPREC_INLINE __m512i TransposeBits(__m512i planes) {
  return SelectBits(planes, 0x8040201008040201);
}

// Codebook indices of a block, as bytes in the order of columns. Bits above
// `kBits` are unspecified: no table lookup below reads them.
//   kBits > 4: vector c holds chunk c.
//   kBits <= 4: vector c holds chunk 2 c in its low nibbles, 2 c + 1 in high.
template <int kBits>
struct BlockIndices {
  static constexpr int kVectors = kBits > 4 ? kBlockChunks : kBlockChunks / 2;
  __m512i vectors[kVectors];
};

// Interleaves the bytes of four planes, first the highest bit's, to dwords.
ANYPREC_INLINE void InterleaveFour(__m512i bit3, __m512i bit2, __m512i bit1,
                                   __m512i bit0, __m512i (&out)[4]) {
  const __m512i high_lo = _mm512_unpacklo_epi8(bit3, bit2);
  const __m512i high_hi = _mm512_unpackhi_epi8(bit3, bit2);
  const __m512i low_lo = _mm512_unpacklo_epi8(bit1, bit0);
  const __m512i low_hi = _mm512_unpackhi_epi8(bit1, bit0);
  out[0] = _mm512_unpacklo_epi16(high_lo, low_lo);
  out[1] = _mm512_unpackhi_epi16(high_lo, low_lo);
  out[2] = _mm512_unpacklo_epi16(high_hi, low_hi);
  out[3] = _mm512_unpackhi_epi16(high_hi, low_hi);
}

// The planes of a row's 512 columns with their bytes interleaved: the lowest
// four in `low`, the others in `high`; those that the precision lacks repeat
// the highest.
struct InterleavedPlanes {
  __m512i low[4];
  __m512i high[4];  // unused up to 4 bits
};

// Reads `kBits` planes at `offset` (64 bytes each).
template <int kBits>
ANYPREC_INLINE InterleavedPlanes LoadPlanes(const PackedWeights& weights,
                                            size_t offset) {
  // Prefetching 2 KiB ahead in each plane covers the latency of memory, some
  // 100 ns, at the rate at which a core can take data in.
  constexpr int kPrefetchBytes = 2048;
  __m512i bit[8];  // the lowest first
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    if (j < kBits) {
      const uint8_t* const row = weights.planes[kBits - 1 - j] + offset;
      bit[j] = _mm512_load_si512(row);
      _mm_prefetch(reinterpret_cast<const char*>(row + kPrefetchBytes),
                   _MM_HINT_T0);
    } else {
      bit[j] = bit[kBits - 1];
    }
  }
  InterleavedPlanes planes;
  InterleaveFour(bit[3], bit[2], bit[1], bit[0], planes.low);
  if constexpr (kBits > 4) {
    InterleaveFour(bit[7], bit[6], bit[5], bit[4], planes.high);
  }
  return planes;
}

template <int kBits>
ANYPREC_INLINE BlockIndices<kBits> ToIndices(const InterleavedPlanes& planes) {
  BlockIndices<kBits> indices;
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    if constexpr (kBits <= 4) {
      indices.vectors[g] = TransposeBits(planes.low[g]);
    } else {
      // Joins odd dwords, then even ones, to qwords of eight planes.
      const __m512i odd =
          _mm512_mask_shuffle_epi32(planes.low[g], 0x5555, planes.high[g],
                                    static_cast<_MM_PERM_ENUM>(0xf5));
      const __m512i even =
          _mm512_mask_shuffle_epi32(planes.high[g], 0xaaaa, planes.low[g],
                                    static_cast<_MM_PERM_ENUM>(0xa0));
      indices.vectors[2 * g] = TransposeBits(odd);
      indices.vectors[2 * g + 1] = TransposeBits(even);
    }
  }
  return indices;
}

// The 64 indices of a tail chunk, as bytes; `offset` points at 8 bytes a plane.
template <int kBits>
ANYPREC_INLINE __m512i LoadTailIndices(const PackedWeights& weights,
                                       size_t offset) {
  // Lane 7 - j of `bits` is bit j's plane; lane q after the permutation holds
  // byte q of all eight.
  const __m512i transpose_bytes = _mm512_set_epi64(
      0x3f372f271f170f07ll, 0x3e362e261e160e06ll, 0x3d352d251d150d05ll,
      0x3c342c241c140c04ll, 0x3b332b231b130b03ll, 0x3a322a221a120a02ll,
      0x3931292119110901ll, 0x3830282018100800ll);
  __m512i bits = _mm512_broadcastq_epi64(_mm_loadl_epi64(
      reinterpret_cast<const __m128i*>(weights.planes[kBits - 1] + offset)));
#pragma GCC unroll 8
  for (int j = 1; j < kBits; ++j) {
    const uint8_t* const row = weights.planes[kBits - 1 - j] + offset;
    bits = _mm512_mask_broadcastq_epi64(
        bits, static_cast<__mmask8>(1 << (7 - j)),
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row)));
  }
  return TransposeBits(_mm512_permutexvar_epi8(transpose_bytes, bits));
}

// One row's table in registers.
//   kBits <= 5: 16-bit values, repeated to fill the vector.
//   kBits > 5: all low bytes, then all high bytes.
template <int kBits>
struct RowTable {
  static constexpr bool kWords = kBits <= 5;
  static constexpr int kVectors = kWords ? 1 : 1 << (kBits - 6);
  __m512i low[kVectors];  // words where kWords
  __m512i high[kWords ? 1 : kVectors];
};

template <int kBits>
ANYPREC_INLINE RowTable<kBits> LoadTable(const uint8_t* tables, int row) {
  const uint8_t* const data = tables + static_cast<size_t>(row) * (2 << kBits);
  RowTable<kBits> table;
  if constexpr (kBits == 2) {
    table.low[0] = _mm512_broadcastq_epi64(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(data)));
  } else if constexpr (kBits == 3) {
    table.low[0] = _mm512_broadcast_i32x4(
        _mm_load_si128(reinterpret_cast<const __m128i*>(data)));
  } else if constexpr (kBits == 4) {
    table.low[0] = _mm512_broadcast_i64x4(
        _mm256_load_si256(reinterpret_cast<const __m256i*>(data)));
  } else if constexpr (kBits == 5) {
    table.low[0] = _mm512_load_si512(data);
  } else {
#pragma GCC unroll 4
    for (int i = 0; i < RowTable<kBits>::kVectors; ++i) {
      table.low[i] = _mm512_load_si512(data + i * kVectorBytes);
      table.high[i] = _mm512_load_si512(data + (1 << kBits) + i * kVectorBytes);
    }
  }
  return table;
}

// Looks bytes up in a table of 64, 128 or 256. vpermb reads six bits of the
// index; masks made of the bits above choose among its results.
template <int kVectors>
ANYPREC_INLINE __m512i LookupBytes(const __m512i (&table)[kVectors],
                                   __m512i index, __mmask64 bit6,
                                   __mmask64 bit7) {
  __m512i result = _mm512_permutexvar_epi8(index, table[0]);
  if constexpr (kVectors >= 2) {
    result = _mm512_mask_permutexvar_epi8(result, bit6, index, table[1]);
  }
  if constexpr (kVectors == 4) {
    result = _mm512_mask_permutexvar_epi8(result, bit7, index, table[2]);
    result = _mm512_mask_permutexvar_epi8(result, _kand_mask64(bit6, bit7),
                                          index, table[3]);
  }
  return result;
}

// Looks up the 64 indices of a chunk and passes on even and odd columns:
// sink(first_vector, even), sink(first_vector + 1, odd).
template <int kBits, typename Sink>
ANYPREC_INLINE void LookupChunk(const RowTable<kBits>& table, __m512i index,
                                int first_vector, Sink sink) {
  if constexpr (RowTable<kBits>::kWords) {
    sink(first_vector, _mm512_permutexvar_epi16(index, table.low[0]));
    sink(first_vector + 1,
         _mm512_permutexvar_epi16(_mm512_srli_epi16(index, 8), table.low[0]));
  } else {
    const __mmask64 bit6 =
        kBits > 6 ? _mm512_movepi8_mask(_mm512_slli_epi16(index, 1)) : 0;
    const __mmask64 bit7 = kBits > 7 ? _mm512_movepi8_mask(index) : 0;
    const __m512i low = LookupBytes(table.low, index, bit6, bit7);
    const __m512i high = LookupBytes(table.high, index, bit6, bit7);
    const __m512i low_mask = _mm512_set1_epi16(0x00ff);
    sink(first_vector, Select(low_mask, low, _mm512_slli_epi16(high, 8)));
    sink(first_vector + 1, Select(low_mask, _mm512_srli_epi16(low, 8), high));
  }
}

// Passes a block's 16 vectors of table values to sink(vector, values).
template <int kBits, typename Sink>
ANYPREC_INLINE void LookupBlock(const RowTable<kBits>& table,
                                const InterleavedPlanes& planes, Sink sink) {
  if constexpr (kBits <= 3) {
    // A column's index twice, with bit 3 clear in one byte and set in the next,
    // looks up the two bytes of its value: vpermb, unlike vpermw, is a single
    // operation on Intel's cores. Low nibbles belong to one chunk, high ones to
    // the next.
    const __m512i index_bits = _mm512_set1_epi16(0x7777);
    const __m512i second_byte = _mm512_set1_epi16(static_cast<int16_t>(0x8800));
    const __m512i low_bytes_then_high =
        _mm512_set4_epi32(0x0f0d0b09, 0x07050301, 0x0e0c0a08, 0x06040200);
    const __m512i bytes =
        _mm512_shuffle_epi8(table.low[0], low_bytes_then_high);
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const __m512i columns[2] = {
          SelectBits(planes.low[g], 0x4040101004040101),
          SelectBits(planes.low[g], 0x8080202008080202)};
#pragma GCC unroll 2
      for (int parity = 0; parity < 2; ++parity) {
        // (columns & index_bits) | second_byte
        const __m512i index = _mm512_ternarylogic_epi32(
            columns[parity], index_bits, second_byte, 0xea);
        sink(4 * g + parity, _mm512_permutexvar_epi8(index, bytes));
        sink(4 * g + 2 + parity,
             _mm512_permutexvar_epi8(_mm512_srli_epi16(index, 4), bytes));
      }
    }
  } else if constexpr (kBits == 4) {
    const BlockIndices<kBits> indices = ToIndices<kBits>(planes);
#pragma GCC unroll 4
    for (int c = 0; c < kBlockChunks / 2; ++c) {
      const __m512i index = indices.vectors[c];
      LookupChunk<kBits>(table, index, 4 * c, sink);
      LookupChunk<kBits>(table, _mm512_srli_epi16(index, 4), 4 * c + 2, sink);
    }
  } else {
    const BlockIndices<kBits> indices = ToIndices<kBits>(planes);
#pragma GCC unroll 8
    for (int c = 0; c < kBlockChunks; ++c) {
      LookupChunk<kBits>(table, indices.vectors[c], 2 * c, sink);
    }
  }
}

// Where a tile's planes begin, and its blocks and tail in them.
ANYPREC_INLINE size_t TileOffset(const PackedWeights& weights, int tile) {
  return static_cast<size_t>(tile) * weights.chunks * kTileRows * 8;
}

ANYPREC_INLINE size_t BlockOffset(const PackedWeights& weights, int tile,
                                  int block) {
  return TileOffset(weights, tile) +
         static_cast<size_t>(block) * kTileRows * kRowBytes;
}

ANYPREC_INLINE size_t TailOffset(const PackedWeights& weights, int tile,
                                 int tail_chunk) {
  return BlockOffset(weights, tile, weights.blocks) +
         static_cast<size_t>(tail_chunk) * kTileRows * kTailRowBytes;
}

// Decodes row `lane` of one scale block and passes its vectors of table values
// to sink(vector, values), vectors counted from the scale block's first.
template <int kBits, typename Sink>
ANYPREC_INLINE void DecodeScaleBlock(const PackedWeights& weights,
                                     const RowTable<kBits>& table, int tile,
                                     int block, int lane, Sink sink) {
  if (block < weights.blocks) {
    LookupBlock<kBits>(
        table,
        LoadPlanes<kBits>(weights,
                          BlockOffset(weights, tile, block) + lane * kRowBytes),
        sink);
  }
  if (block != weights.scale_blocks - 1) return;
  const int first = weights.blocks > 0 ? kBlockVectors : 0;
  for (int chunk = 0; chunk < weights.tail_chunks; ++chunk) {
    const __m512i index = LoadTailIndices<kBits>(
        weights, TailOffset(weights, tile, chunk) + lane * kTailRowBytes);
    LookupChunk<kBits>(table, index, first + kChunkVectors * chunk, sink);
  }
}

// As DecodeScaleBlock, but passes on codebook indices as bytes in the order of
// columns: sink(chunk, indices). Bits above kBits are unspecified.
template <int kBits, typename Sink>
ANYPREC_INLINE void DecodeIndices(const PackedWeights& weights, int tile,
                                  int block, int lane, Sink sink) {
  if (block < weights.blocks) {
    const BlockIndices<kBits> indices = ToIndices<kBits>(LoadPlanes<kBits>(
        weights, BlockOffset(weights, tile, block) + lane * kRowBytes));
#pragma GCC unroll 8
    for (int c = 0; c < kBlockChunks; ++c) {
      if constexpr (kBits <= 4) {
        const __m512i pair = indices.vectors[c / 2];
        sink(c, c % 2 == 0 ? pair : _mm512_srli_epi16(pair, 4));
      } else {
        sink(c, indices.vectors[c]);
      }
    }
  }
  if (block != weights.scale_blocks - 1) return;
  const int first = weights.blocks > 0 ? kBlockChunks : 0;
  for (int chunk = 0; chunk < weights.tail_chunks; ++chunk) {
    sink(first + chunk,
         LoadTailIndices<kBits>(
             weights, TailOffset(weights, tile, chunk) + lane * kTailRowBytes));
  }
}

// ---- Activations as int16.

// The scale of `columns` values of a row of x, a multiple of 16 and at most a
// scale block: see kMaxMagnitudeSum. A NaN or an infinity becomes the scale,
// and so every result of the row.
inline float Int16Scale(const float* x, int columns) {
  __m512 sums = _mm512_setzero_ps();
  __m512 largest = _mm512_setzero_ps();
  for (int i = 0; i < columns; i += 16) {
    const __m512 magnitude = _mm512_abs_ps(_mm512_loadu_ps(x + i));
    sums = _mm512_add_ps(sums, magnitude);
    largest = _mm512_max_ps(largest, magnitude);
  }
  const float by_sum = _mm512_reduce_add_ps(sums) / kMaxMagnitudeSum;
  const float by_largest = _mm512_reduce_max_ps(largest) / kMaxInt16;
  const float scale = by_largest > by_sum ? by_largest : by_sum;
  return scale < kMinScale ? 0.0f : scale;
}

// What values are multiplied with; 0 for a scale that is 0 or not finite.
ANYPREC_INLINE float InverseScale(float scale) {
  return scale > 0.0f && scale <= FLT_MAX ? 1.0f / scale : 0.0f;
}

// Quantizes a chunk of `columns` values, 32 or 64; zeros beyond them.
ANYPREC_INLINE void QuantizeToInt16(const float* x, int columns,
                                    float inverse_scale, __m512i& even,
                                    __m512i& odd) {
  const __m512 inverse = _mm512_set1_ps(inverse_scale);
  __m512i halves[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  for (int i = 0; i < columns / 32; ++i) {
    const __m512i low =
        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 32 * i), inverse));
    const __m512i high = _mm512_cvtps_epi32(
        _mm512_mul_ps(_mm512_loadu_ps(x + 32 * i + 16), inverse));
    halves[i] =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(low)),
                           _mm512_cvtepi32_epi16(high), 1);
  }
  even = _mm512_permutex2var_epi16(halves[0], EvenWords(), halves[1]);
  odd = _mm512_permutex2var_epi16(halves[0], OddWords(), halves[1]);
}

// ---- Sums.

// Lane r of the result is the sum of v[r]'s lanes. Three shuffles and adds for
// two vectors at each of four levels: 45 instructions for 16 sums.
ANYPREC_INLINE __m512i SumLanes(const __m512i* v) {
  __m512i pairs[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    pairs[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
  }
  __m512i fours[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    fours[i] =
        _mm512_add_epi32(_mm512_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]),
                         _mm512_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
  }
  __m512i eights[2];
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    eights[i] = _mm512_add_epi32(
        _mm512_shuffle_i32x4(fours[2 * i], fours[2 * i + 1], 0x88),
        _mm512_shuffle_i32x4(fours[2 * i], fours[2 * i + 1], 0xdd));
  }
  return _mm512_add_epi32(_mm512_shuffle_i32x4(eights[0], eights[1], 0x88),
                          _mm512_shuffle_i32x4(eights[0], eights[1], 0xdd));
}

ANYPREC_INLINE __m512 SumLanes(const __m512* v) {
  __m512 pairs[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    pairs[i] = _mm512_add_ps(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]),
                             _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
  }
  __m512 fours[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(pairs[2 * i]);
    const __m512d b = _mm512_castps_pd(pairs[2 * i + 1]);
    fours[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  __m512 eights[2];
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    eights[i] = _mm512_add_ps(
        _mm512_shuffle_f32x4(fours[2 * i], fours[2 * i + 1], 0x88),
        _mm512_shuffle_f32x4(fours[2 * i], fours[2 * i + 1], 0xdd));
  }
  return _mm512_add_ps(_mm512_shuffle_f32x4(eights[0], eights[1], 0x88),
                       _mm512_shuffle_f32x4(eights[0], eights[1], 0xdd));
}

// Writes y[m][16 tile .. ] = sums * row scales, or adds it.
ANYPREC_INLINE void StoreTileRow(const BitPlaneJob& job, int tile, int m,
                                 __m512 sums) {
  const int first = tile * kTileRows;
  const int rows = job.weights.n - first;
  const __mmask16 mask =
      rows >= kTileRows ? 0xffff : static_cast<__mmask16>((1 << rows) - 1);
  float* const y = job.y + static_cast<size_t>(m) * job.weights.n + first;
  __m512 value =
      _mm512_mul_ps(sums, _mm512_load_ps(job.weights.row_scales + first));
  if (job.accumulate) {
    value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, y));
  }
  _mm512_mask_storeu_ps(y, mask, value);
}

// Calls function.template operator()<kBits>() for the job's precision.
template <typename Function>
ANYPREC_INLINE void DispatchPrecision(int precision, Function function) {
  switch (precision) {
    case 2:
      return function.template operator()<2>();
    case 3:
      return function.template operator()<3>();
    case 4:
      return function.template operator()<4>();
    case 5:
      return function.template operator()<5>();
    case 6:
      return function.template operator()<6>();
    case 7:
      return function.template operator()<7>();
    default:
      return function.template operator()<8>();
  }
}

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_H_
