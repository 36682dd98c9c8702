// Decoding for the AVX2 bit-plane products (bit_plane_avx2.cc): from planes to
// nibbles of codebook indices, and from those to 16-bit table values.
//
// Four planes become nibbles by exchanging bits between vectors (two rounds of
// a butterfly). pshufb looks up 16 table entries at a time, low and high bytes
// apart, and the planes above the fourth choose between the results. The order
// of columns that this leaves is met by permuting x once a call.
//
// For translation units compiled for AVX2, FMA and F16C only. All is in an
// anonymous namespace, so that none of it can be linked into code for other
// machines.
#ifndef ANYPREC_KERNELS_CPU_BIT_PLANE_AVX2_H_
#define ANYPREC_KERNELS_CPU_BIT_PLANE_AVX2_H_

#include <immintrin.h>

#include <bit>
#include <type_traits>

#include "kernels/cpu/bit_plane_kernels.h"

// Internal linkage on purpose: code for one instruction set must not be linked
// into code for another.
// NOLINTBEGIN(google-build-namespaces,misc-definitions-in-headers)
namespace anyprec {
namespace {

#define ANYPREC_INLINE inline __attribute__((always_inline))

// Decoded values come as vectors of 16 words.
constexpr int kLanes = 16;
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

// The byte that lane `lane` of a lookup's first (0) or second (1) vector of
// words comes from.
constexpr int LookupByte(int second, int lane) {
  return 16 * (lane / 8) + 8 * second + lane % 8;
}

// Vectors of a block: for each half of its 64 stored bytes, for j = 0 .. 3, for
// bits j and j + 4 of the bytes: the two of a lookup. Those of a tail chunk,
// whose 8 bytes appear four times for j = 0 .. 3: for bits j and j + 4 alike.
constexpr DecodedOrder MakeDecodedOrder() {
  DecodedOrder order = {};
  int position = 0;
  for (int half = 0; half < 2; ++half) {
    for (int j = 0; j < 4; ++j) {
      for (int high = 0; high < 2; ++high) {
        for (int second = 0; second < 2; ++second) {
          for (int lane = 0; lane < kLanes; ++lane) {
            const int byte = BlockByte(32 * half + LookupByte(second, lane));
            order.block[position++] =
                static_cast<uint16_t>(8 * byte + 4 * high + j);
          }
        }
      }
    }
  }
  position = 0;
  for (int high = 0; high < 2; ++high) {
    for (int second = 0; second < 2; ++second) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const int byte = LookupByte(second, lane);
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

// The low or the high bytes of a row's table, in *parts* of 16.
template <int kParts>
struct RegisterBytes {
  __m256i parts[kParts];

  ANYPREC_INLINE __m256i Part(int i) const { return parts[i]; }
};
struct MemoryBytes {
  const uint8_t* data;

  ANYPREC_INLINE __m256i Part(int i) const {
    return _mm256_broadcastsi128_si256(LoadXmm(data + 16 * i));
  }
};

template <int kBits>
struct RowTable {
  static constexpr int kParts = kBits > 4 ? 1 << (kBits - 4) : 1;
  // As PackedWeights stores them.
  static constexpr bool kWords = kBits <= 5;
  using Bytes = std::conditional_t<kWords, RegisterBytes<kParts>, MemoryBytes>;

  Bytes low;
  Bytes high;
};

template <int kBits>
ANYPREC_INLINE RowTable<kBits> LoadTable(const uint8_t* tables, int row) {
  const uint8_t* const data = tables + static_cast<size_t>(row) * (2 << kBits);
  RowTable<kBits> table;
  if constexpr (kBits == 2) {
    const __m128i words = _mm_set1_epi64x(_mm_cvtsi128_si64(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(data))));
    SplitWords(words, words, &table.low.parts[0], &table.high.parts[0]);
  } else if constexpr (kBits == 3) {
    SplitWords(LoadXmm(data), LoadXmm(data), &table.low.parts[0],
               &table.high.parts[0]);
  } else if constexpr (RowTable<kBits>::kWords) {
    for (int i = 0; i < RowTable<kBits>::kParts; ++i) {
      SplitWords(LoadXmm(data + 32 * i), LoadXmm(data + 32 * i + 16),
                 &table.low.parts[i], &table.high.parts[i]);
    }
  } else {
    table.low.data = data;
    table.high.data = data + (1 << kBits);
    // Else gcc 12 loads all parts before a loop, and then from the stack.
    asm volatile("" : "+r"(table.low.data), "+r"(table.high.data));
  }
  return table;
}

// Looks up bytes of parts [kFirst, kFirst + kParts): the nibbles say where in a
// part, and the signs of the bytes of part_bits[i], as bit i, in which part.
template <int kFirst, int kParts, typename Bytes>
ANYPREC_INLINE __m256i LookupBytes(const Bytes& bytes, __m256i nibbles,
                                   const __m256i (&part_bits)[4]) {
  if constexpr (kParts == 1) {
    return _mm256_shuffle_epi8(bytes.Part(kFirst), nibbles);
  } else {
    constexpr int kHalf = kParts / 2;
    constexpr int kBit = std::bit_width(static_cast<unsigned>(kHalf)) - 1;
    return _mm256_blendv_epi8(
        LookupBytes<kFirst, kHalf>(bytes, nibbles, part_bits),
        LookupBytes<kFirst + kHalf, kHalf>(bytes, nibbles, part_bits),
        part_bits[kBit]);
  }
}

// Looks up 32 values and passes them on: sink(vector, words),
// sink(vector + 1, words).
template <int kBits, typename Sink>
ANYPREC_INLINE void Lookup(const RowTable<kBits>& table, __m256i nibbles,
                           const __m256i (&part_bits)[4], int vector,
                           Sink sink) {
  constexpr int kParts = RowTable<kBits>::kParts;
  const __m256i low = LookupBytes<0, kParts>(table.low, nibbles, part_bits);
  const __m256i high = LookupBytes<0, kParts>(table.high, nibbles, part_bits);
  sink(vector, _mm256_unpacklo_epi8(low, high));
  sink(vector + 1, _mm256_unpackhi_epi8(low, high));
}

// Looks up both nibbles of each byte: vectors vector .. vector + 3. For the
// upper ones the signs of `upper` are given, for the lower ones bit 3.
template <int kBits, typename Sink>
ANYPREC_INLINE void LookupNibbles(const RowTable<kBits>& table, __m256i nibbles,
                                  const __m256i (&upper)[4], int vector,
                                  Sink sink) {
  const __m256i mask = _mm256_set1_epi8(0x0f);
  __m256i lower_signs[4] = {};
#pragma GCC unroll 4
  for (int i = 0; i < kBits - 4; ++i) {
    lower_signs[i] = _mm256_slli_epi16(upper[i], 4);
  }
  Lookup(table, _mm256_and_si256(nibbles, mask), lower_signs, vector, sink);
  Lookup(table, _mm256_and_si256(_mm256_srli_epi16(nibbles, 4), mask), upper,
         vector + 2, sink);
}

// Decodes row `lane` of one scale block: sink(vector, 16 words), vectors
// counted from the scale block's first.
template <int kBits, typename Sink>
ANYPREC_INLINE void DecodeScaleBlock(const PackedWeights& weights,
                                     const RowTable<kBits>& table, int tile,
                                     int block, int lane, Sink sink) {
  const size_t tile_offset =
      static_cast<size_t>(tile) * weights.chunks * kTileRows * 8;
  __m256i bits[8], nibbles[4], upper[4];
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
    BitsToNibbles({bits[0], bits[1], bits[2], bits[3]}, nibbles);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j, vector += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        upper[i] = _mm256_slli_epi16(bits[4 + i], 3 - j);
      }
      LookupNibbles<kBits>(table, nibbles[j], upper, vector, sink);
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
    BitsToNibbles({bits[0], bits[1], bits[2], bits[3]}, nibbles);
    // Qword j is taken from vector j, and shifted alike.
    const __m256i blend = _mm256_blend_epi32(
        _mm256_blend_epi32(nibbles[0], nibbles[1], 0x0c),
        _mm256_blend_epi32(nibbles[2], nibbles[3], 0xc0), 0xf0);
    const __m256i shifts = _mm256_set_epi64x(0, 1, 2, 3);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      upper[i] = _mm256_sllv_epi64(bits[4 + i], shifts);
    }
    LookupNibbles<kBits>(table, blend, upper, vector, sink);
  }
}

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_BIT_PLANE_AVX2_H_
