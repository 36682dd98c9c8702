// Bit-plane products for AVX2, FMA and F16C.
//
// Four planes become nibbles by exchanging bits between vectors (two rounds of
// a butterfly). Up to kMostShuffledBits pshufb looks up 16 table entries at a
// time, low and high bytes apart; above, each entry is loaded by itself.
// vpmaddwd or FMA multiplies. The order of columns that this leaves is met by
// permuting x once a call.
//
// All but the entry point is in an anonymous namespace, and nothing here is an
// inline function that other translation units share.
#include <float.h>
#include <immintrin.h>

#include <type_traits>

#include "kernels/cpu/bit_plane_kernels.h"

namespace anyprec {
namespace {

#define ANYPREC_INLINE inline __attribute__((always_inline))

// Decoded values come as vectors of 16 words.
constexpr int kLanes = 16;
constexpr int kBlockVectors = kBlockColumns / kLanes;
constexpr int kChunkVectors = kChunkColumns / kLanes;
// Columns of the longest scale block: a block and a tail of seven chunks.
constexpr int kMaxScaleBlockColumns = 2 * kBlockColumns - kChunkColumns;

// Where decoded values come from: column [i] of a block or a tail chunk stands
// at position i of the decoder's output.
struct DecodedOrder {
  uint16_t block[kBlockColumns];
  uint16_t chunk[kChunkColumns];
};

// Stored byte b of a block is byte `BlockByte(b)` of a row (PackedWeights).
constexpr int BlockByte(int b) {
  const int l = b / 16, g = b / 4 % 4, e = b / 2 % 2, h = b % 2;
  return 16 * g + 8 * (1 - h) + 2 * l + e;
}

// Vectors of a block: for each half of its 64 stored bytes, for j = 0 .. 3, for
// bits j and j + 4 of the bytes: even bytes, odd bytes. Those of a tail chunk,
// whose 8 bytes appear four times for j = 0 .. 3: for bits j and j + 4 alike.
constexpr DecodedOrder MakeDecodedOrder() {
  DecodedOrder order = {};
  int position = 0;
  for (int half = 0; half < 2; ++half) {
    for (int j = 0; j < 4; ++j) {
      for (int high = 0; high < 2; ++high) {
        for (int odd = 0; odd < 2; ++odd) {
          for (int lane = 0; lane < kLanes; ++lane) {
            const int byte = 32 * half + 2 * lane + odd;
            order.block[position++] =
                static_cast<uint16_t>(8 * BlockByte(byte) + 4 * high + j);
          }
        }
      }
    }
  }
  position = 0;
  for (int high = 0; high < 2; ++high) {
    for (int odd = 0; odd < 2; ++odd) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const int byte = 2 * lane + odd;
        order.chunk[position++] =
            static_cast<uint16_t>(8 * (byte % 8) + 4 * high + byte / 8);
      }
    }
  }
  return order;
}

constexpr DecodedOrder kDecodedOrder = MakeDecodedOrder();

// mask ? a : b, bit by bit.
ANYPREC_INLINE __m256i Select(__m256i mask, __m256i a, __m256i b) {
  return _mm256_or_si256(_mm256_and_si256(mask, a),
                         _mm256_andnot_si256(mask, b));
}

// Four vectors of bits to four of nibbles: nibble i of nibbles[j] has bit b of
// its value from bit 4 i + j of bits[b].
ANYPREC_INLINE void BitsToNibbles(const __m256i (&bits)[4],
                                  __m256i (&nibbles)[4]) {
  const __m256i every_second = _mm256_set1_epi32(0x55555555);
  const __m256i lower_pairs = _mm256_set1_epi32(0x33333333);
  __m256i pairs[4];
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m256i low = bits[2 * i];
    const __m256i high = bits[2 * i + 1];
    pairs[i] = Select(every_second, low, _mm256_slli_epi32(high, 1));
    pairs[2 + i] = Select(every_second, _mm256_srli_epi32(low, 1), high);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m256i low = pairs[2 * i];
    const __m256i high = pairs[2 * i + 1];
    nibbles[i] = Select(lower_pairs, low, _mm256_slli_epi32(high, 2));
    nibbles[2 + i] = Select(lower_pairs, _mm256_srli_epi32(low, 2), high);
  }
}

// Each plane doubles the parts of a table that every index is shuffled through.
// At 8 bits loads take less than half that time; gathers are slower than both.
constexpr int kMostShuffledBits = 7;

// A row's table: 16-entry byte tables, low and high bytes of the values.
template <int kBits>
struct ShuffledTable {
  static constexpr int kParts = kBits > 4 ? 1 << (kBits - 4) : 1;
  __m256i low[kParts];
  __m256i high[kParts];
};

// A row's table as it is.
template <int kBits>
struct WordTable {
  alignas(32) uint16_t words[1 << kBits];
};

template <int kBits>
using RowTable = std::conditional_t<(kBits <= kMostShuffledBits),
                                    ShuffledTable<kBits>, WordTable<kBits>>;

ANYPREC_INLINE __m128i LoadXmm(const uint8_t* data) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(data));
}

// Splits 16 words into their low and high bytes.
ANYPREC_INLINE void SplitWords(__m128i first, __m128i second, __m256i* low,
                               __m256i* high) {
  const __m128i low_mask = _mm_set1_epi16(0x00ff);
  *low = _mm256_broadcastsi128_si256(_mm_packus_epi16(
      _mm_and_si128(first, low_mask), _mm_and_si128(second, low_mask)));
  *high = _mm256_broadcastsi128_si256(
      _mm_packus_epi16(_mm_srli_epi16(first, 8), _mm_srli_epi16(second, 8)));
}

template <int kBits>
ANYPREC_INLINE RowTable<kBits> LoadTable(const uint8_t* tables, int row) {
  const uint8_t* const data = tables + static_cast<size_t>(row) * (2 << kBits);
  RowTable<kBits> table;
  if constexpr (kBits == 2) {
    const __m128i words = _mm_set1_epi64x(_mm_cvtsi128_si64(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(data))));
    SplitWords(words, words, &table.low[0], &table.high[0]);
  } else if constexpr (kBits == 3) {
    SplitWords(LoadXmm(data), LoadXmm(data), &table.low[0], &table.high[0]);
  } else if constexpr (kBits <= 5) {
    for (int i = 0; i < RowTable<kBits>::kParts; ++i) {
      SplitWords(LoadXmm(data + 32 * i), LoadXmm(data + 32 * i + 16),
                 &table.low[i], &table.high[i]);
    }
  } else if constexpr (kBits <= kMostShuffledBits) {
    for (int i = 0; i < RowTable<kBits>::kParts; ++i) {
      table.low[i] = _mm256_broadcastsi128_si256(LoadXmm(data + 16 * i));
      table.high[i] =
          _mm256_broadcastsi128_si256(LoadXmm(data + (1 << kBits) + 16 * i));
    }
  } else {
    for (int i = 0; i < (1 << kBits); i += 16) {
      const __m128i low = LoadXmm(data + i);
      const __m128i high = LoadXmm(data + (1 << kBits) + i);
      __m128i* const words = reinterpret_cast<__m128i*>(table.words + i);
      _mm_store_si128(words, _mm_unpacklo_epi8(low, high));
      _mm_store_si128(words + 1, _mm_unpackhi_epi8(low, high));
    }
  }
  return table;
}

// Looks up 32 values, index = 16 high_nibble + low_nibble, and passes on those
// of even and odd bytes: sink(vector, words), sink(vector + 1, words).
template <int kBits, typename Sink>
ANYPREC_INLINE void Lookup(const ShuffledTable<kBits>& table,
                           __m256i low_nibble, __m256i high_nibble, int vector,
                           Sink sink) {
  __m256i low, high;
  if constexpr (kBits <= 4) {
    low = _mm256_shuffle_epi8(table.low[0], low_nibble);
    high = _mm256_shuffle_epi8(table.high[0], low_nibble);
  } else {
    // pshufb gives 0 where an index is negative: in all parts but one.
    low = high = _mm256_setzero_si256();
#pragma GCC unroll 16
    for (int i = 0; i < ShuffledTable<kBits>::kParts; ++i) {
      const __m256i here = _mm256_cmpeq_epi8(
          high_nibble, _mm256_set1_epi8(static_cast<char>(i)));
      const __m256i index = _mm256_or_si256(
          low_nibble, _mm256_andnot_si256(here, _mm256_set1_epi8(-128)));
      low = _mm256_or_si256(low, _mm256_shuffle_epi8(table.low[i], index));
      high = _mm256_or_si256(high, _mm256_shuffle_epi8(table.high[i], index));
    }
  }
  const __m256i low_mask = _mm256_set1_epi16(0x00ff);
  sink(vector, Select(low_mask, low, _mm256_slli_epi16(high, 8)));
  sink(vector + 1, Select(low_mask, _mm256_srli_epi16(low, 8), high));
}

// As above, one after the other.
template <int kBits, typename Sink>
ANYPREC_INLINE void Lookup(const WordTable<kBits>& table, __m256i low_nibble,
                           __m256i high_nibble, int vector, Sink sink) {
  const __m256i index =
      _mm256_or_si256(low_nibble, _mm256_slli_epi16(high_nibble, 4));
  const int64_t quarters[4] = {
      _mm256_extract_epi64(index, 0), _mm256_extract_epi64(index, 1),
      _mm256_extract_epi64(index, 2), _mm256_extract_epi64(index, 3)};
  __m128i words[4];  // of even bytes, then of odd ones
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto word = [&](int byte) __attribute__((always_inline)) {
      return table.words[quarters[i] >> (8 * byte) & 0xff];
    };
    words[i] = _mm_cvtsi32_si128(word(0));
    words[i] = _mm_insert_epi16(words[i], word(2), 1);
    words[i] = _mm_insert_epi16(words[i], word(4), 2);
    words[i] = _mm_insert_epi16(words[i], word(6), 3);
    words[i] = _mm_insert_epi16(words[i], word(1), 4);
    words[i] = _mm_insert_epi16(words[i], word(3), 5);
    words[i] = _mm_insert_epi16(words[i], word(5), 6);
    words[i] = _mm_insert_epi16(words[i], word(7), 7);
  }
  sink(vector, _mm256_set_m128i(_mm_unpacklo_epi64(words[2], words[3]),
                                _mm_unpacklo_epi64(words[0], words[1])));
  sink(vector + 1, _mm256_set_m128i(_mm_unpackhi_epi64(words[2], words[3]),
                                    _mm_unpackhi_epi64(words[0], words[1])));
}

// Looks up both nibbles of each byte: vectors vector .. vector + 3.
template <int kBits, typename Sink>
ANYPREC_INLINE void LookupNibbles(const RowTable<kBits>& table, __m256i low,
                                  __m256i high, int vector, Sink sink) {
  const __m256i mask = _mm256_set1_epi8(0x0f);
  // Planes above kBits repeat the highest: mask what they leave.
  const __m256i high_mask = _mm256_set1_epi8(
      static_cast<char>((kBits > 4 ? 1 << (kBits - 4) : 1) - 1));
  Lookup(table, _mm256_and_si256(low, mask), _mm256_and_si256(high, high_mask),
         vector, sink);
  Lookup(table, _mm256_and_si256(_mm256_srli_epi16(low, 4), mask),
         _mm256_and_si256(_mm256_srli_epi16(high, 4), high_mask), vector + 2,
         sink);
}

// Turns the bits of all planes, the lowest first, to nibbles of the lower four
// and of those above.
template <int kBits>
ANYPREC_INLINE void PlanesToNibbles(const __m256i (&bits)[8], __m256i (&low)[4],
                                    __m256i (&high)[4]) {
  BitsToNibbles({bits[0], bits[1], bits[2], bits[3]}, low);
  if constexpr (kBits > 4) {
    BitsToNibbles({bits[4], bits[5], bits[6], bits[7]}, high);
  } else {
#pragma GCC unroll 4
    for (__m256i& nibbles : high) nibbles = _mm256_setzero_si256();
  }
}

// Decodes row `lane` of one scale block: sink(vector, 16 words), vectors
// counted from the scale block's first.
template <int kBits, typename Sink>
ANYPREC_INLINE void DecodeScaleBlock(const PackedWeights& weights,
                                     const RowTable<kBits>& table, int tile,
                                     int block, int lane, Sink sink) {
  const size_t tile_offset =
      static_cast<size_t>(tile) * weights.chunks * kTileRows * 8;
  __m256i bits[8], low[4], high[4];
  int vector = 0;
  for (int half = 0; half < (weights.blocks > 0 ? 2 : 0); ++half) {
    const size_t offset = tile_offset +
                          static_cast<size_t>(block) * kTileRows * 64 +
                          lane * 64 + half * 32;
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      const int plane = j < kBits ? kBits - 1 - j : 0;
      const uint8_t* const data = weights.planes[plane] + offset;
      bits[j] = _mm256_load_si256(reinterpret_cast<const __m256i*>(data));
    }
    PlanesToNibbles<kBits>(bits, low, high);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j, vector += 4) {
      LookupNibbles<kBits>(table, low[j], high[j], vector, sink);
    }
  }
  if (block != weights.scale_blocks - 1) return;
  const size_t tail_offset =
      tile_offset + static_cast<size_t>(weights.blocks) * kTileRows * 64;
  for (int chunk = 0; chunk < weights.tail_chunks; ++chunk, vector += 4) {
    const size_t offset =
        tail_offset + static_cast<size_t>(chunk) * kTileRows * 8 + lane * 8;
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      const int plane = j < kBits ? kBits - 1 - j : 0;
      bits[j] = _mm256_broadcastq_epi64(_mm_loadl_epi64(
          reinterpret_cast<const __m128i*>(weights.planes[plane] + offset)));
    }
    PlanesToNibbles<kBits>(bits, low, high);
    // Qword j of the blends comes from vector j.
    const auto blend = [](const __m256i(&v)[4]) __attribute__((always_inline)) {
      return _mm256_blend_epi32(_mm256_blend_epi32(v[0], v[1], 0x0c),
                                _mm256_blend_epi32(v[2], v[3], 0xc0), 0xf0);
    };
    LookupNibbles<kBits>(table, blend(low), blend(high), vector, sink);
  }
}

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

ANYPREC_INLINE size_t PaddedColumns(const PackedWeights& weights) {
  return static_cast<size_t>(weights.chunks) * kChunkColumns;
}

// The column that a row's packed position holds.
ANYPREC_INLINE int PackedColumn(const PackedWeights& weights, int position) {
  const int in_blocks = weights.blocks * kBlockColumns;
  if (position < in_blocks) {
    return position / kBlockColumns * kBlockColumns +
           kDecodedOrder.block[position % kBlockColumns];
  }
  return position / kChunkColumns * kChunkColumns +
         kDecodedOrder.chunk[position % kChunkColumns];
}

ANYPREC_INLINE int FirstColumn(int block) { return block * kBlockColumns; }

// Past the last column, padding included, of a scale block.
ANYPREC_INLINE int PaddedEnd(const PackedWeights& weights, int block) {
  return block == weights.scale_blocks - 1 ? weights.chunks * kChunkColumns
                                           : (block + 1) * kBlockColumns;
}

ANYPREC_INLINE void StoreResult(const BitPlaneJob& job, int m, int row,
                                float sum) {
  const float value = sum * job.weights.row_scales[row];
  float* const y = job.y + static_cast<size_t>(m) * job.weights.n + row;
  *y = job.accumulate ? *y + value : value;
}

ANYPREC_INLINE int TileRows(const PackedWeights& weights, int tile) {
  const int left = weights.n - tile * kTileRows;
  return left < kTileRows ? left : kTileRows;
}

// ---- int16. Packed x: [rows][64 chunks] int16, then scales
// [rows][scale_blocks] fp32.

ANYPREC_INLINE int16_t* Int16Row(const BitPlaneJob& job, int m) {
  return reinterpret_cast<int16_t*>(job.packed_x) +
         m * PaddedColumns(job.weights);
}

ANYPREC_INLINE float* Int16Scales(const BitPlaneJob& job, int m) {
  return reinterpret_cast<float*>(Int16Row(job, job.rows)) +
         static_cast<size_t>(m) * job.weights.scale_blocks;
}

size_t Int16Bytes(const BitPlaneJob& job) {
  return job.rows * (PaddedColumns(job.weights) * sizeof(int16_t) +
                     job.weights.scale_blocks * sizeof(float));
}

float BlockScale(const float* x, int first, int last) {
  float sum = 0.0f;
  float largest = 0.0f;
  for (int i = first; i < last; ++i) {
    const float magnitude = __builtin_fabsf(x[i]);
    sum += magnitude;
    largest = magnitude > largest ? magnitude : largest;
  }
  float scale = sum / kMaxMagnitudeSum;
  if (largest / kMaxInt16 > scale) scale = largest / kMaxInt16;
  return scale < kMinScale ? 0.0f : scale;
}

void PackInt16(const BitPlaneJob& job, int begin, int end) {
  const PackedWeights& weights = job.weights;
  for (int m = begin; m < end; ++m) {
    const float* const x = job.x + static_cast<size_t>(m) * weights.k;
    int16_t* const out = Int16Row(job, m);
    for (int block = 0; block < weights.scale_blocks; ++block) {
      const int first = FirstColumn(block);
      const int last = PaddedEnd(weights, block);
      const float scale =
          BlockScale(x, first, last < weights.k ? last : weights.k);
      Int16Scales(job, m)[block] = scale;
      const bool usable = scale > 0.0f && scale <= FLT_MAX;
      const float inverse = usable ? 1.0f / scale : 0.0f;
      for (int i = first; i < last; ++i) {
        const int column = PackedColumn(weights, i);
        out[i] = usable && column < weights.k
                     ? static_cast<int16_t>(
                           _mm_cvtss_si32(_mm_set_ss(x[column] * inverse)))
                     : 0;
      }
    }
  }
}

ANYPREC_INLINE int32_t SumLanes(__m256i v) {
  __m128i sum =
      _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return _mm_cvtsi128_si32(sum);
}

// The one row of x times the 16 weight rows of a tile.
template <int kBits>
void MultiplyTileInt16(const BitPlaneJob& job, int tile) {
  const PackedWeights& weights = job.weights;
  float totals[kTileRows] = {};
  const int tile_rows = TileRows(weights, tile);
  for (int block = 0; block < weights.scale_blocks; ++block) {
    const int16_t* const x = Int16Row(job, 0) + FirstColumn(block);
    for (int lane = 0; lane < tile_rows; ++lane) {
      const RowTable<kBits> table =
          LoadTable<kBits>(weights.tables, tile * kTileRows + lane);
      __m256i sum = _mm256_setzero_si256();
      DecodeScaleBlock<kBits>(
          weights, table, tile, block,
          lane, [&](int vector, __m256i w) __attribute__((always_inline)) {
            const __m256i columns = _mm256_loadu_si256(
                reinterpret_cast<const __m256i*>(x + vector * kLanes));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w, columns));
          });
      totals[lane] +=
          static_cast<float>(SumLanes(sum)) * Int16Scales(job, 0)[block];
    }
  }
  for (int lane = 0; lane < tile_rows; ++lane) {
    StoreResult(job, 0, tile * kTileRows + lane, totals[lane]);
  }
}

void MultiplyRowInt16(const BitPlaneJob& job, int first_tile, int last_tile) {
  DispatchPrecision(job.weights.precision, [&]<int kBits>() {
    for (int tile = first_tile; tile < last_tile; ++tile) {
      MultiplyTileInt16<kBits>(job, tile);
    }
  });
}

// ---- fp32. Packed x: [rows][64 chunks] fp32.

ANYPREC_INLINE const float* Float32Row(const BitPlaneJob& job, int m) {
  return reinterpret_cast<const float*>(job.packed_x) +
         m * PaddedColumns(job.weights);
}

size_t Float32Bytes(const BitPlaneJob& job) {
  return job.rows * PaddedColumns(job.weights) * sizeof(float);
}

void PackFloat32(const BitPlaneJob& job, int begin, int end) {
  const PackedWeights& weights = job.weights;
  const int padded = weights.chunks * kChunkColumns;
  for (int m = begin; m < end; ++m) {
    const float* const x = job.x + static_cast<size_t>(m) * weights.k;
    float* const out = const_cast<float*>(Float32Row(job, m));
    for (int i = 0; i < padded; ++i) {
      const int column = PackedColumn(weights, i);
      out[i] = column < weights.k ? x[column] : 0.0f;
    }
  }
}

// ---- Batches: four decoded weight rows at a time, which all rows of x share.

ANYPREC_INLINE float SumLanes(__m256 v) {
  __m128 sum =
      _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  sum = _mm_add_ss(sum, _mm_movehdup_ps(sum));
  return _mm_cvtss_f32(sum);
}

struct Int16Way {
  using Value = int16_t;
  using Vector = __m256i;
  static constexpr int kVectorValues = 16;

  static ANYPREC_INLINE const Value* Row(const BitPlaneJob& job, int m) {
    return Int16Row(job, m);
  }
  static ANYPREC_INLINE void StoreDecoded(Value* out, __m256i w) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(out), w);
  }
  static ANYPREC_INLINE Vector Zero() { return _mm256_setzero_si256(); }
  static ANYPREC_INLINE Vector Load(const Value* values) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values));
  }
  static ANYPREC_INLINE Vector MultiplyAdd(Vector a, Vector b, Vector sum) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
  }
  static ANYPREC_INLINE float BlockSum(const BitPlaneJob& job, int m, int block,
                                       Vector sum) {
    return static_cast<float>(SumLanes(sum)) * Int16Scales(job, m)[block];
  }
};

struct Float32Way {
  using Value = float;
  using Vector = __m256;
  static constexpr int kVectorValues = 8;

  static ANYPREC_INLINE const Value* Row(const BitPlaneJob& job, int m) {
    return Float32Row(job, m);
  }
  static ANYPREC_INLINE void StoreDecoded(Value* out, __m256i w) {
    _mm256_store_ps(out, _mm256_cvtph_ps(_mm256_castsi256_si128(w)));
    _mm256_store_ps(out + 8, _mm256_cvtph_ps(_mm256_extracti128_si256(w, 1)));
  }
  static ANYPREC_INLINE Vector Zero() { return _mm256_setzero_ps(); }
  static ANYPREC_INLINE Vector Load(const Value* values) {
    return _mm256_loadu_ps(values);
  }
  static ANYPREC_INLINE Vector MultiplyAdd(Vector a, Vector b, Vector sum) {
    return _mm256_fmadd_ps(a, b, sum);
  }
  static ANYPREC_INLINE float BlockSum(const BitPlaneJob&, int, int,
                                       Vector sum) {
    return SumLanes(sum);
  }
};

// Decodes a scale block of four weight rows, `columns` apart.
template <typename Way, int kBits>
void DecodeRows(const PackedWeights& weights, int tile, int block, int lane,
                int columns, typename Way::Value* out) {
  for (int i = 0; i < 4; ++i, out += columns) {
    const RowTable<kBits> table =
        LoadTable<kBits>(weights.tables, tile * kTileRows + lane + i);
    DecodeScaleBlock<kBits>(
        weights, table, tile, block,
        lane + i, [&](int vector, __m256i w) __attribute__((always_inline)) {
          Way::StoreDecoded(out + vector * kLanes, w);
        });
  }
}

// Adds the products of four decoded rows with rows [m, m + kRows) of x over a
// scale block to totals [kRows][kTileRows].
template <typename Way, int kRows>
ANYPREC_INLINE void MultiplyRows(const BitPlaneJob& job, int m, int block,
                                 const typename Way::Value* w, int columns,
                                 float* totals) {
  using Vector = typename Way::Vector;
  const typename Way::Value* x[kRows];
  Vector sums[kRows][4];
  for (int i = 0; i < kRows; ++i) {
    x[i] = Way::Row(job, m + i) + FirstColumn(block);
    for (Vector& sum : sums[i]) sum = Way::Zero();
  }
  for (int column = 0; column < columns; column += Way::kVectorValues) {
    Vector values[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) values[r] = Way::Load(w + r * columns + column);
#pragma GCC unroll 2
    for (int i = 0; i < kRows; ++i) {
      const Vector activations = Way::Load(x[i] + column);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        sums[i][r] = Way::MultiplyAdd(values[r], activations, sums[i][r]);
      }
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int r = 0; r < 4; ++r) {
      totals[i * kTileRows + r] += Way::BlockSum(job, m + i, block, sums[i][r]);
    }
  }
}

// Rows of x that share one decoding of a tile; their sums take 16 KiB.
constexpr int kMaxRows = 256;

template <typename Way, int kBits>
void MultiplyBatchTile(const BitPlaneJob& job, int tile, int first_row,
                       int rows) {
  alignas(32) typename Way::Value w[4 * kMaxScaleBlockColumns];
  float totals[kMaxRows * kTileRows] = {};
  const PackedWeights& weights = job.weights;
  const int tile_rows = TileRows(weights, tile);
  for (int block = 0; block < weights.scale_blocks; ++block) {
    const int columns = PaddedEnd(weights, block) - FirstColumn(block);
    for (int lane = 0; lane < tile_rows; lane += 4) {
      DecodeRows<Way, kBits>(weights, tile, block, lane, columns, w);
      int m = 0;
      for (; m + 2 <= rows; m += 2) {
        MultiplyRows<Way, 2>(job, first_row + m, block, w, columns,
                             totals + m * kTileRows + lane);
      }
      if (m < rows) {
        MultiplyRows<Way, 1>(job, first_row + m, block, w, columns,
                             totals + m * kTileRows + lane);
      }
    }
  }
  for (int m = 0; m < rows; ++m) {
    for (int lane = 0; lane < tile_rows; ++lane) {
      StoreResult(job, first_row + m, tile * kTileRows + lane,
                  totals[m * kTileRows + lane]);
    }
  }
}

template <typename Way>
void MultiplyBatch(const BitPlaneJob& job, int first_tile, int last_tile) {
  DispatchPrecision(job.weights.precision, [&]<int kBits>() {
    for (int tile = first_tile; tile < last_tile; ++tile) {
      for (int m = 0; m < job.rows; m += kMaxRows) {
        MultiplyBatchTile<Way, kBits>(
            job, tile, m, job.rows - m < kMaxRows ? job.rows - m : kMaxRows);
      }
    }
  });
}

// The same to the bit either way: sums of a scale block are exact, and are
// added in the same order. Two rows already gain by what they share.
void MultiplyInt16(const BitPlaneJob& job, int first_tile, int last_tile) {
  if (job.rows == 1) {
    MultiplyRowInt16(job, first_tile, last_tile);
  } else {
    MultiplyBatch<Int16Way>(job, first_tile, last_tile);
  }
}

}  // namespace

BitPlaneKernels Avx2BitPlaneKernels() {
  const BitPlaneProduct int16 = {Int16Bytes, PackInt16, MultiplyInt16};
  const BitPlaneProduct float32 = {Float32Bytes, PackFloat32,
                                   MultiplyBatch<Float32Way>};
  return {
      .decode_int16 = int16,
      .decode_float32 = float32,
      .prefill_int16 = int16,
      .prefill_float32 = float32,
  };
}

}  // namespace anyprec
