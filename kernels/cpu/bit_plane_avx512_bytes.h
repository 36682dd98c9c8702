// Weights as bytes, from tables of bytes, and prefill activations as bytes:
// rounded to 1/127 of the largest of a run.
//
// For translation units compiled for AVX-512 only; see bit_plane_avx512.h.
#ifndef ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_BYTES_H_
#define ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_BYTES_H_

#include "kernels/cpu/bit_plane_avx512_panel.h"

// Internal linkage on purpose: code for one instruction set must not be linked
// into code for another.
// NOLINTBEGIN(google-build-namespaces,misc-definitions-in-headers)
namespace anyprec {
namespace {

// Prefill activations are bytes up to so many bits. Beside int16, that raises
// the perplexity of SmolLM2-135M (WikiText-2, five windows of 2048), which 3
// bits themselves double and 4 raise by 15 %, by
//
//   activations of a run    3 bits    4 bits
//   64 (vpdpbusd)            0.5 %     0.4 %
//   192 (AMX)                0.7 %     0.8 %
//   512                      3.8 %     2.4 %
//
// 5 bits raise it by 3 % themselves, the bytes of their tables by another 0.6.
constexpr int kMaxByteBits = 4;

// A row's table as bytes, repeated to fill the vector.
template <int kBits>
ANYPREC_INLINE __m512i LoadByteTable(const uint8_t* tables, int row) {
  static_assert(kBits <= kByteTableBits && RowTable<kBits>::kWords);
  return _mm512_broadcast_i64x4(
      _mm512_cvtepi16_epi8(LoadTable<kBits>(tables, row).low[0]));
}

// Writes a scale block of a row, a chunk every kSliceBytes.
template <int kBits>
ANYPREC_INLINE void DecodeRowToBytes(const PackedWeights& weights,
                                     __m512i table, int tile, int block,
                                     int lane, uint8_t* out) {
  DecodeIndices<kBits>(
      weights, tile, block,
      lane, [&](int chunk, __m512i index) __attribute__((always_inline)) {
        _mm512_store_si512(out + chunk * kSliceBytes,
                           _mm512_permutexvar_epi8(index, table));
      });
}

// The largest magnitude of `columns` values, a multiple of 16, over 127. What
// is not finite becomes the scale, and so every result of its row.
ANYPREC_INLINE float ByteScale(const float* x, int columns) {
  // As integers magnitudes have the same order, and NaN the place above all.
  __m512i largest = _mm512_setzero_si512();
  for (int i = 0; i < columns; i += 16) {
    largest = _mm512_max_epi32(
        largest, _mm512_castps_si512(_mm512_abs_ps(_mm512_loadu_ps(x + i))));
  }
  const __m128i bits = _mm_cvtsi32_si128(_mm512_reduce_max_epi32(largest));
  const float scale = _mm_cvtss_f32(_mm_castsi128_ps(bits)) / 127.0f;
  return scale < kMinScale ? 0.0f : scale;
}

// A chunk of `columns` values, 32 or 64; zeros beyond them.
ANYPREC_INLINE __m512i QuantizeToBytes(const float* x, int columns,
                                       float inverse_scale) {
  const __m512 inverse = _mm512_set1_ps(inverse_scale);
  __m128i quarters[4] = {};
  for (int i = 0; i < columns / 16; ++i) {
    quarters[i] = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(
        _mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), inverse)));
  }
  return _mm512_inserti64x4(
      _mm512_castsi256_si512(_mm256_set_m128i(quarters[1], quarters[0])),
      _mm256_set_m128i(quarters[3], quarters[2]), 1);
}

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_BYTES_H_
