// F32x16 and I32x16: sixteen fp32 or int32 lanes on each instruction set, the
// vocabulary in which the kernels of *_kernels-inl.h are written once.
//
// Included by the kernels_*.cc only, each of which is compiled for one
// instruction set. Everything here has internal linkage and is always inlined:
// the linker must never pick a function compiled for AVX-512 for a caller that
// is not (and so the kernels use no inline function of any other header).
#ifndef ANYPREC_KERNELS_CPU_SIMD_H_
#define ANYPREC_KERNELS_CPU_SIMD_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define ANYPREC_INLINE static inline __attribute__((always_inline))

// Internal linkage on purpose: code for one instruction set must not be linked
// into code for another.
// NOLINTBEGIN(google-build-namespaces,misc-definitions-in-headers)
namespace anyprec {
namespace {

#if defined(__AVX512F__)

// Values of sixteen lanes that the vector registers hold.
constexpr int kVectors = 32;

struct F32x16 {
  __m512 v;
};
struct I32x16 {
  __m512i v;
};

ANYPREC_INLINE F32x16 Splat(float x) { return {_mm512_set1_ps(x)}; }
ANYPREC_INLINE F32x16 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
ANYPREC_INLINE void Store(F32x16 a, float* p) { _mm512_storeu_ps(p, a.v); }
// The first n <= 16 lanes; the others are zero, their memory untouched.
ANYPREC_INLINE F32x16 LoadFirst(const float* p, int n) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p)};
}
ANYPREC_INLINE void StoreFirst(F32x16 a, int n, float* p) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), a.v);
}
// `a` in the first n <= 16 lanes, `b` in the others.
ANYPREC_INLINE F32x16 Blend(int n, F32x16 a, F32x16 b) {
  return {
      _mm512_mask_blend_ps(static_cast<__mmask16>((1u << n) - 1), b.v, a.v)};
}
ANYPREC_INLINE F32x16 Add(F32x16 a, F32x16 b) {
  return {_mm512_add_ps(a.v, b.v)};
}
ANYPREC_INLINE F32x16 Sub(F32x16 a, F32x16 b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
ANYPREC_INLINE F32x16 Mul(F32x16 a, F32x16 b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
ANYPREC_INLINE F32x16 Div(F32x16 a, F32x16 b) {
  return {_mm512_div_ps(a.v, b.v)};
}
// a * b + c, rounded once where the hardware can.
ANYPREC_INLINE F32x16 MulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
// Lane by lane; `b` where either is NaN.
ANYPREC_INLINE F32x16 Max(F32x16 a, F32x16 b) {
  return {_mm512_max_ps(a.v, b.v)};
}
ANYPREC_INLINE F32x16 Min(F32x16 a, F32x16 b) {
  return {_mm512_min_ps(a.v, b.v)};
}
// To the nearest integer; 2^i for integers in [-126, 127].
ANYPREC_INLINE F32x16 Round(F32x16 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT)};
}
ANYPREC_INLINE F32x16 PowerOf2(F32x16 a) {
  const __m512i biased =
      _mm512_add_epi32(_mm512_cvtps_epi32(a.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
}
ANYPREC_INLINE F32x16 LoadF16(const uint16_t* p) {
  return {
      _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
ANYPREC_INLINE void StoreF16(F32x16 a, uint16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
ANYPREC_INLINE I32x16 LoadInt(const void* p) { return {_mm512_loadu_si512(p)}; }
// Sixteen pairs of bytes as pairs of int16.
ANYPREC_INLINE I32x16 LoadBytePairs(const int8_t* p) {
  return {_mm512_cvtepi8_epi16(
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
ANYPREC_INLINE I32x16 ZeroInt() { return {_mm512_setzero_si512()}; }
ANYPREC_INLINE I32x16 SplatInt(int32_t x) { return {_mm512_set1_epi32(x)}; }
ANYPREC_INLINE F32x16 ToFloat(I32x16 a) { return {_mm512_cvtepi32_ps(a.v)}; }
// To the nearest integer.
ANYPREC_INLINE I32x16 ToInt(F32x16 a) { return {_mm512_cvtps_epi32(a.v)}; }
// The lower 16 bits of each lane.
ANYPREC_INLINE void StoreLow16(I32x16 a, int16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(a.v));
}
// Of each lane's 32 bits: the lower or upper half as int16 or as bf16.
ANYPREC_INLINE I32x16 SignExtendLow(I32x16 a) {
  return {_mm512_srai_epi32(_mm512_slli_epi32(a.v, 16), 16)};
}
ANYPREC_INLINE I32x16 SignExtendHigh(I32x16 a) {
  return {_mm512_srai_epi32(a.v, 16)};
}
ANYPREC_INLINE F32x16 BFloat16Low(I32x16 a) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(a.v, 16))};
}
ANYPREC_INLINE F32x16 BFloat16High(I32x16 a) {
  return {
      _mm512_castsi512_ps(_mm512_and_si512(a.v, _mm512_set1_epi32(-65536)))};
}
// sum + a.low * b.low + a.high * b.high, lanes seen as pairs of int16.
ANYPREC_INLINE I32x16 DotPairs(I32x16 sum, I32x16 a, I32x16 b) {
  // As assembly because gcc 12 copies every sum before and after the intrinsic.
  asm("vpdpwssd %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
  return sum;
}
// Unsigned, of each lane.
template <int kBits>
ANYPREC_INLINE I32x16 ShiftRight(I32x16 a) {
  return {_mm512_srli_epi32(a.v, kBits)};
}
ANYPREC_INLINE I32x16 ShiftLeft(I32x16 a, int bits) {
  return {_mm512_sll_epi32(a.v, _mm_cvtsi32_si128(bits))};
}
// -a where the lane's highest bit is set.
ANYPREC_INLINE F32x16 FlipSign(F32x16 a, I32x16 highest_bit) {
  const __m512i sign = _mm512_and_si512(
      highest_bit.v, _mm512_set1_epi32(static_cast<int>(0x80000000u)));
  return {
      _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a.v), sign))};
}
// A table is 2^kTableBits floats, as many as one lookup chooses from.
constexpr int kTableBits = 4;
// table[the lowest kTableBits of the index], lane by lane.
ANYPREC_INLINE F32x16 Lookup(const float* table, I32x16 index) {
  return {_mm512_permutexvar_ps(index.v, _mm512_loadu_ps(table))};
}
// The first lanes, as many as a table has.
ANYPREC_INLINE void StoreTable(F32x16 a, float* table) { Store(a, table); }

#elif defined(__AVX2__)

constexpr int kVectors = 8;

struct F32x16 {
  __m256 lo, hi;
};
struct I32x16 {
  __m256i lo, hi;
};

ANYPREC_INLINE __m256i FirstLanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
ANYPREC_INLINE F32x16 Splat(float x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
ANYPREC_INLINE F32x16 Load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
ANYPREC_INLINE void Store(F32x16 a, float* p) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
ANYPREC_INLINE F32x16 LoadFirst(const float* p, int n) {
  return {_mm256_maskload_ps(p, FirstLanes(n)),
          _mm256_maskload_ps(p + 8, FirstLanes(n - 8))};
}
ANYPREC_INLINE void StoreFirst(F32x16 a, int n, float* p) {
  _mm256_maskstore_ps(p, FirstLanes(n), a.lo);
  _mm256_maskstore_ps(p + 8, FirstLanes(n - 8), a.hi);
}
ANYPREC_INLINE F32x16 Blend(int n, F32x16 a, F32x16 b) {
  return {_mm256_blendv_ps(b.lo, a.lo, _mm256_castsi256_ps(FirstLanes(n))),
          _mm256_blendv_ps(b.hi, a.hi, _mm256_castsi256_ps(FirstLanes(n - 8)))};
}
ANYPREC_INLINE F32x16 Add(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
ANYPREC_INLINE F32x16 Sub(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
ANYPREC_INLINE F32x16 Mul(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
ANYPREC_INLINE F32x16 Div(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
ANYPREC_INLINE F32x16 MulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
ANYPREC_INLINE F32x16 Max(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
ANYPREC_INLINE F32x16 Min(F32x16 a, F32x16 b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
ANYPREC_INLINE F32x16 Round(F32x16 a) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.lo, kMode), _mm256_round_ps(a.hi, kMode)};
}
ANYPREC_INLINE __m256 PowerOf2(__m256 a) {
  const __m256i biased =
      _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
ANYPREC_INLINE F32x16 PowerOf2(F32x16 a) {
  return {PowerOf2(a.lo), PowerOf2(a.hi)};
}
ANYPREC_INLINE __m128i Load128(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
ANYPREC_INLINE F32x16 LoadF16(const uint16_t* p) {
  return {_mm256_cvtph_ps(Load128(p)), _mm256_cvtph_ps(Load128(p + 8))};
}
ANYPREC_INLINE void StoreF16(F32x16 a, uint16_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8),
                   _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}
ANYPREC_INLINE I32x16 LoadInt(const void* p) {
  const auto* q = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
ANYPREC_INLINE I32x16 LoadBytePairs(const int8_t* p) {
  return {_mm256_cvtepi8_epi16(Load128(p)),
          _mm256_cvtepi8_epi16(Load128(p + 16))};
}
ANYPREC_INLINE I32x16 ZeroInt() {
  return {_mm256_setzero_si256(), _mm256_setzero_si256()};
}
ANYPREC_INLINE I32x16 SplatInt(int32_t x) {
  return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
ANYPREC_INLINE F32x16 ToFloat(I32x16 a) {
  return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}
ANYPREC_INLINE I32x16 ToInt(F32x16 a) {
  return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)};
}
ANYPREC_INLINE void StoreLow16(I32x16 a, int16_t* p) {
  // Packs within 128-bit halves; the permutation restores the order. The lanes
  // are within int16, so saturation changes nothing.
  const __m256i packed =
      _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), packed);
}
ANYPREC_INLINE I32x16 SignExtendLow(I32x16 a) {
  return {_mm256_srai_epi32(_mm256_slli_epi32(a.lo, 16), 16),
          _mm256_srai_epi32(_mm256_slli_epi32(a.hi, 16), 16)};
}
ANYPREC_INLINE I32x16 SignExtendHigh(I32x16 a) {
  return {_mm256_srai_epi32(a.lo, 16), _mm256_srai_epi32(a.hi, 16)};
}
ANYPREC_INLINE F32x16 BFloat16Low(I32x16 a) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(a.lo, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(a.hi, 16))};
}
ANYPREC_INLINE F32x16 BFloat16High(I32x16 a) {
  const __m256i mask = _mm256_set1_epi32(-65536);
  return {_mm256_castsi256_ps(_mm256_and_si256(a.lo, mask)),
          _mm256_castsi256_ps(_mm256_and_si256(a.hi, mask))};
}
ANYPREC_INLINE I32x16 DotPairs(I32x16 sum, I32x16 a, I32x16 b) {
  return {_mm256_add_epi32(sum.lo, _mm256_madd_epi16(a.lo, b.lo)),
          _mm256_add_epi32(sum.hi, _mm256_madd_epi16(a.hi, b.hi))};
}
template <int kBits>
ANYPREC_INLINE I32x16 ShiftRight(I32x16 a) {
  return {_mm256_srli_epi32(a.lo, kBits), _mm256_srli_epi32(a.hi, kBits)};
}
ANYPREC_INLINE I32x16 ShiftLeft(I32x16 a, int bits) {
  const __m128i count = _mm_cvtsi32_si128(bits);
  return {_mm256_sll_epi32(a.lo, count), _mm256_sll_epi32(a.hi, count)};
}
ANYPREC_INLINE __m256 FlipSign(__m256 a, __m256i highest_bit) {
  return _mm256_xor_ps(a, _mm256_and_ps(_mm256_castsi256_ps(highest_bit),
                                        _mm256_set1_ps(-0.0f)));
}
ANYPREC_INLINE F32x16 FlipSign(F32x16 a, I32x16 highest_bit) {
  return {FlipSign(a.lo, highest_bit.lo), FlipSign(a.hi, highest_bit.hi)};
}
constexpr int kTableBits = 3;
ANYPREC_INLINE F32x16 Lookup(const float* table, I32x16 index) {
  const __m256 entries = _mm256_loadu_ps(table);
  return {_mm256_permutevar8x32_ps(entries, index.lo),
          _mm256_permutevar8x32_ps(entries, index.hi)};
}
ANYPREC_INLINE void StoreTable(F32x16 a, float* table) {
  _mm256_storeu_ps(table, a.lo);
}

#else  // Loops that any compiler turns into what its machine has.

constexpr int kVectors = 4;

struct F32x16 {
  float v[16];
};
struct I32x16 {
  int32_t v[16];
};

#define ANYPREC_LANES(type, expression)             \
  type r;                                           \
  for (int i = 0; i < 16; ++i) r.v[i] = expression; \
  return r

ANYPREC_INLINE float FloatFromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}
ANYPREC_INLINE uint32_t BitsOfFloat(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(x));
  return bits;
}
ANYPREC_INLINE F32x16 Splat(float x) { ANYPREC_LANES(F32x16, x); }
ANYPREC_INLINE F32x16 Load(const float* p) { ANYPREC_LANES(F32x16, p[i]); }
ANYPREC_INLINE void Store(F32x16 a, float* p) {
  for (int i = 0; i < 16; ++i) p[i] = a.v[i];
}
ANYPREC_INLINE F32x16 LoadFirst(const float* p, int n) {
  ANYPREC_LANES(F32x16, i < n ? p[i] : 0);
}
ANYPREC_INLINE void StoreFirst(F32x16 a, int n, float* p) {
  for (int i = 0; i < n; ++i) p[i] = a.v[i];
}
ANYPREC_INLINE F32x16 Blend(int n, F32x16 a, F32x16 b) {
  ANYPREC_LANES(F32x16, i < n ? a.v[i] : b.v[i]);
}
ANYPREC_INLINE F32x16 Add(F32x16 a, F32x16 b) {
  ANYPREC_LANES(F32x16, a.v[i] + b.v[i]);
}
ANYPREC_INLINE F32x16 Sub(F32x16 a, F32x16 b) {
  ANYPREC_LANES(F32x16, a.v[i] - b.v[i]);
}
ANYPREC_INLINE F32x16 Mul(F32x16 a, F32x16 b) {
  ANYPREC_LANES(F32x16, a.v[i] * b.v[i]);
}
ANYPREC_INLINE F32x16 Div(F32x16 a, F32x16 b) {
  ANYPREC_LANES(F32x16, a.v[i] / b.v[i]);
}
ANYPREC_INLINE F32x16 MulAdd(F32x16 a, F32x16 b, F32x16 c) {
  ANYPREC_LANES(F32x16, a.v[i] * b.v[i] + c.v[i]);
}
ANYPREC_INLINE F32x16 Max(F32x16 a, F32x16 b) {
  ANYPREC_LANES(F32x16, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
ANYPREC_INLINE F32x16 Min(F32x16 a, F32x16 b) {
  ANYPREC_LANES(F32x16, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
// Adding and subtracting 1.5 * 2^23 leaves an integer, for |a| < 2^22.
ANYPREC_INLINE F32x16 Round(F32x16 a) {
  ANYPREC_LANES(F32x16, (a.v[i] + 12582912.0f) - 12582912.0f);
}
ANYPREC_INLINE F32x16 PowerOf2(F32x16 a) {
  ANYPREC_LANES(
      F32x16,
      FloatFromBits((BitsOfFloat(a.v[i] + 12582912.0f) - 0x4b400000u + 127u)
                    << 23));
}
ANYPREC_INLINE float FloatFromHalf(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00u) {
    return FloatFromBits(sign | 0x7f800000u | (magnitude << 13));
  }
  const float scaled = FloatFromBits(magnitude << 13) * 0x1p112f;
  return FloatFromBits(BitsOfFloat(scaled) | sign);
}
ANYPREC_INLINE uint16_t HalfFromFloat(float value) {
  const uint32_t bits = BitsOfFloat(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 0.5 rounds to a multiple of 2^-24.
    half = BitsOfFloat(FloatFromBits(magnitude) + 0.5f) - BitsOfFloat(0.5f);
  } else {
    half = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}
ANYPREC_INLINE F32x16 LoadF16(const uint16_t* p) {
  ANYPREC_LANES(F32x16, FloatFromHalf(p[i]));
}
ANYPREC_INLINE void StoreF16(F32x16 a, uint16_t* p) {
  for (int i = 0; i < 16; ++i) p[i] = HalfFromFloat(a.v[i]);
}
ANYPREC_INLINE I32x16 LoadInt(const void* p) {
  I32x16 r;
  std::memcpy(r.v, p, sizeof(r.v));
  return r;
}
ANYPREC_INLINE I32x16 LoadBytePairs(const int8_t* p) {
  ANYPREC_LANES(I32x16, static_cast<int32_t>(
                            (static_cast<uint32_t>(p[2 * i]) & 0xffffu) |
                            (static_cast<uint32_t>(p[2 * i + 1]) << 16)));
}
ANYPREC_INLINE I32x16 ZeroInt() { ANYPREC_LANES(I32x16, 0); }
ANYPREC_INLINE I32x16 SplatInt(int32_t x) { ANYPREC_LANES(I32x16, x); }
ANYPREC_INLINE F32x16 ToFloat(I32x16 a) {
  ANYPREC_LANES(F32x16, static_cast<float>(a.v[i]));
}
// For |a| < 2^22.
ANYPREC_INLINE I32x16 ToInt(F32x16 a) {
  ANYPREC_LANES(I32x16, static_cast<int32_t>(BitsOfFloat(a.v[i] + 12582912.0f) -
                                             0x4b400000u));
}
ANYPREC_INLINE void StoreLow16(I32x16 a, int16_t* p) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int16_t>(a.v[i]);
}
ANYPREC_INLINE I32x16 SignExtendLow(I32x16 a) {
  ANYPREC_LANES(I32x16, static_cast<int16_t>(a.v[i] & 0xffff));
}
ANYPREC_INLINE I32x16 SignExtendHigh(I32x16 a) {
  ANYPREC_LANES(I32x16, a.v[i] >> 16);
}
ANYPREC_INLINE F32x16 BFloat16Low(I32x16 a) {
  ANYPREC_LANES(F32x16, FloatFromBits(static_cast<uint32_t>(a.v[i]) << 16));
}
ANYPREC_INLINE F32x16 BFloat16High(I32x16 a) {
  ANYPREC_LANES(F32x16,
                FloatFromBits(static_cast<uint32_t>(a.v[i]) & 0xffff0000u));
}
ANYPREC_INLINE I32x16 DotPairs(I32x16 sum, I32x16 a, I32x16 b) {
  ANYPREC_LANES(I32x16, sum.v[i] +
                            static_cast<int16_t>(a.v[i] & 0xffff) *
                                static_cast<int16_t>(b.v[i] & 0xffff) +
                            (a.v[i] >> 16) * (b.v[i] >> 16));
}
template <int kBits>
ANYPREC_INLINE I32x16 ShiftRight(I32x16 a) {
  ANYPREC_LANES(I32x16,
                static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) >> kBits));
}
ANYPREC_INLINE I32x16 ShiftLeft(I32x16 a, int bits) {
  ANYPREC_LANES(I32x16,
                static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) << bits));
}
ANYPREC_INLINE F32x16 FlipSign(F32x16 a, I32x16 highest_bit) {
  ANYPREC_LANES(F32x16, FloatFromBits(BitsOfFloat(a.v[i]) ^
                                      (static_cast<uint32_t>(highest_bit.v[i]) &
                                       0x80000000u)));
}
constexpr int kTableBits = 4;
ANYPREC_INLINE F32x16 Lookup(const float* table, I32x16 index) {
  ANYPREC_LANES(F32x16, table[index.v[i] & ((1 << kTableBits) - 1)]);
}
ANYPREC_INLINE void StoreTable(F32x16 a, float* table) { Store(a, table); }

#undef ANYPREC_LANES

#endif

// The upper half of the lanes, combined with the lower, down to one.
#if defined(__AVX2__)
ANYPREC_INLINE float SumLanes(__m128 a) {
  a = _mm_add_ps(a, _mm_movehl_ps(a, a));
  return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}
ANYPREC_INLINE float MaxLane(__m128 a) {
  a = _mm_max_ps(a, _mm_movehl_ps(a, a));
  return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}
ANYPREC_INLINE float SumLanes(__m256 a) {
  return SumLanes(
      _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
}
ANYPREC_INLINE float MaxLane(__m256 a) {
  return MaxLane(
      _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
}
#endif

#if defined(__AVX512F__)
ANYPREC_INLINE float SumLanes(F32x16 a) {
  return SumLanes(_mm256_add_ps(_mm512_castps512_ps256(a.v),
                                _mm512_extractf32x8_ps(a.v, 1)));
}
ANYPREC_INLINE float MaxLane(F32x16 a) {
  return MaxLane(_mm256_max_ps(_mm512_castps512_ps256(a.v),
                               _mm512_extractf32x8_ps(a.v, 1)));
}
ANYPREC_INLINE float FirstLane(F32x16 a) { return _mm512_cvtss_f32(a.v); }
#elif defined(__AVX2__)
ANYPREC_INLINE float SumLanes(F32x16 a) {
  return SumLanes(_mm256_add_ps(a.lo, a.hi));
}
ANYPREC_INLINE float MaxLane(F32x16 a) {
  return MaxLane(_mm256_max_ps(a.lo, a.hi));
}
ANYPREC_INLINE float FirstLane(F32x16 a) { return _mm256_cvtss_f32(a.lo); }
#else
ANYPREC_INLINE float SumLanes(F32x16 a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) a.v[i] += a.v[i + width];
  }
  return a.v[0];
}
ANYPREC_INLINE float MaxLane(F32x16 a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) {
      a.v[i] = a.v[i] > a.v[i + width] ? a.v[i] : a.v[i + width];
    }
  }
  return a.v[0];
}
ANYPREC_INLINE float FirstLane(F32x16 a) { return a.v[0]; }
#endif

// e^a with a relative error below 3e-7 for |a| <= 87; beyond, that of the
// nearer end. NaN stays NaN.
ANYPREC_INLINE F32x16 Exp(F32x16 a) {
  a = Max(Splat(-87.0f), Min(Splat(87.0f), a));
  const F32x16 n = Round(Mul(a, Splat(1.44269504f)));
  // a - n ln 2 in [-0.35, 0.35]; ln 2 in two parts, the first of 9 bits, so
  // that n times it is exact.
  F32x16 r = MulAdd(n, Splat(-0.693359375f), a);
  r = MulAdd(n, Splat(2.12194440e-4f), r);
  // Taylor's series to r^6: what is left out is below 1.3e-7.
  F32x16 p = Splat(1.0f / 720);
  p = MulAdd(p, r, Splat(1.0f / 120));
  p = MulAdd(p, r, Splat(1.0f / 24));
  p = MulAdd(p, r, Splat(1.0f / 6));
  p = MulAdd(p, r, Splat(0.5f));
  p = MulAdd(p, r, Splat(1.0f));
  p = MulAdd(p, r, Splat(1.0f));
  return Mul(p, PowerOf2(n));
}

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_SIMD_H_
