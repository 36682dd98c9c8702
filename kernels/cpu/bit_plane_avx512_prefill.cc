// Prefill products for AVX-512 without AMX: fp32 FMA, and vdpbf16ps where the
// machine has it. Lanes are 16 rows of x, a weight is broadcast to them.
#include "kernels/cpu/bit_plane_avx512_panel.h"
#include "kernels/cpu/bit_plane_avx512_products.h"

namespace anyprec {
namespace {

// One tile times up to four groups of rows: four weight rows at a time keep 16
// sums in registers, and each step loads 4 + 4 operands for 16 products.
template <int kGroups, typename MultiplyAdd>
ANYPREC_INLINE void MultiplyTile(const TileProduct& product,
                                 MultiplyAdd multiply_add) {
  constexpr int kRows = 4;
  for (int row = 0; row < kTileRows; row += kRows) {
    float* const sums = product.sums + row * 16;
    __m512 acc[kRows][kGroups];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        acc[r][g] = product.first
                        ? _mm512_setzero_ps()
                        : _mm512_load_ps(sums + g * kTileSums + r * 16);
      }
    }
    for (int slice = 0; slice < product.slices; ++slice) {
      const uint8_t* const x = product.x + slice * kSliceBytes;
      const auto* const w = reinterpret_cast<const int32_t*>(
          product.weights + slice * kSliceBytes + row * kVectorBytes);
#pragma GCC unroll 2
      for (int step = 0; step < 16; ++step) {
        __m512i columns[kGroups];
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) {
          columns[g] =
              _mm512_load_si512(x + g * product.x_stride + step * kVectorBytes);
        }
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          const __m512i weight = _mm512_set1_epi32(w[r * 16 + step]);
#pragma GCC unroll 4
          for (int g = 0; g < kGroups; ++g) {
            acc[r][g] = multiply_add(acc[r][g], weight, columns[g]);
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        _mm512_store_ps(sums + g * kTileSums + r * 16, acc[r][g]);
      }
    }
  }
}

template <typename MultiplyAdd>
void MultiplyGroups(TileProduct product, MultiplyAdd multiply_add) {
  if (product.groups == 4) {
    MultiplyTile<4>(product, multiply_add);
    return;
  }
  for (int g = 0; g < product.groups; ++g) {
    MultiplyTile<1>(product, multiply_add);
    product.x += product.x_stride;
    product.sums += kTileSums;
  }
}

template <int kBits>
struct Bf16Kernel {
  static constexpr int kChunkSlices = kBf16ChunkSlices;
  static constexpr int kPanelTiles = 4;
  static constexpr int kTiles = 1;
  static constexpr int kGroups = 4;

  static void DecodeTile(const PackedWeights& weights, int tile, int block,
                         uint8_t* slices) {
    DecodeTileToBf16<kBits>(weights, tile, block, slices);
  }

  static void Multiply(const TileProduct& product) {
    MultiplyGroups(
        product,
        [](__m512 sum, __m512i a, __m512i b) __attribute__((always_inline)) {
          return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a),
                                  reinterpret_cast<__m512bh>(b));
        });
  }
};

// ---- fp32 operands.

template <bool kFloat16>
ANYPREC_INLINE __m512 ToFloat32(__m256i values) {
  if constexpr (kFloat16) return _mm512_cvtph_ps(values);
  return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(values));
}

template <int kBits, bool kFloat16>
struct Float32Kernel {
  static constexpr int kChunkSlices = kFloat32ChunkSlices;
  static constexpr int kPanelTiles = 4;
  static constexpr int kTiles = 1;
  static constexpr int kGroups = 4;

  static void DecodeTile(const PackedWeights& weights, int tile, int block,
                         uint8_t* slices) {
    for (int lane = 0; lane < kTileRows; ++lane) {
      const RowTable<kBits> table =
          LoadTable<kBits>(weights.tables, tile * kTileRows + lane);
      uint8_t* const out = slices + lane * kVectorBytes;
      DecodeScaleBlock<kBits>(
          weights, table, tile, block,
          lane, [&](int vector, __m512i w) __attribute__((always_inline)) {
            uint8_t* const slice = out + 2 * vector * kSliceBytes;
            _mm512_store_ps(slice,
                            ToFloat32<kFloat16>(_mm512_castsi512_si256(w)));
            _mm512_store_ps(
                slice + kSliceBytes,
                ToFloat32<kFloat16>(_mm512_extracti64x4_epi64(w, 1)));
          });
    }
  }

  static void Multiply(const TileProduct& product) {
    MultiplyGroups(
        product,
        [](__m512 sum, __m512i a, __m512i b) __attribute__((always_inline)) {
          return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b),
                                 sum);
        });
  }
};

size_t Float32Bytes(const BitPlaneJob& job) {
  return static_cast<size_t>((job.rows + 15) / 16) * job.weights.chunks *
         kFloat32ChunkSlices * kSliceBytes;
}

// The four vectors of 16 columns that a chunk decodes to: even columns of the
// first and second half, then odd ones.
ANYPREC_INLINE void LoadFloat32Chunk(const float* x, int column, int k,
                                     __m512 (&out)[4]) {
  __m512 in[4];
  for (int i = 0; i < 4; ++i) {
    const int first = column + 16 * i;
    in[i] = first < k ? _mm512_loadu_ps(x + first) : _mm512_setzero_ps();
  }
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12,
                                        10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13,
                                       11, 9, 7, 5, 3, 1);
  out[0] = _mm512_permutex2var_ps(in[0], even, in[1]);
  out[1] = _mm512_permutex2var_ps(in[2], even, in[3]);
  out[2] = _mm512_permutex2var_ps(in[0], odd, in[1]);
  out[3] = _mm512_permutex2var_ps(in[2], odd, in[3]);
}

void PackFloat32(const BitPlaneJob& job, int begin, int end) {
  const int k = job.weights.k;
  for (int first = begin; first < end; first += 16) {
    const int rows = end - first < 16 ? end - first : 16;
    uint8_t* out = job.packed_x + static_cast<size_t>(first) / 16 *
                                      job.weights.chunks * kFloat32ChunkSlices *
                                      kSliceBytes;
    for (int chunk = 0; chunk < job.weights.chunks; ++chunk) {
      __m512i slices[kFloat32ChunkSlices][16];
      for (int i = 0; i < 16; ++i) {
        __m512 columns[4] = {};
        if (i < rows) {
          LoadFloat32Chunk(job.x + static_cast<size_t>(first + i) * k,
                           chunk * kChunkColumns, k, columns);
        }
        for (int s = 0; s < 4; ++s) {
          slices[s][i] = _mm512_castps_si512(columns[s]);
        }
      }
      for (int s = 0; s < kFloat32ChunkSlices; ++s) {
        StoreSlice(slices[s], out);
        out += kSliceBytes;
      }
    }
  }
}

void MultiplyBf16(const BitPlaneJob& job, int first_tile, int last_tile) {
  DispatchPrecision(job.weights.precision, [&]<int kBits>() {
    MultiplyPanels<Bf16Kernel<kBits>>(job, first_tile, last_tile);
  });
}

template <bool kFloat16>
void MultiplyFloat32(const BitPlaneJob& job, int first_tile, int last_tile) {
  DispatchPrecision(job.weights.precision, [&]<int kBits>() {
    MultiplyPanels<Float32Kernel<kBits, kFloat16>>(job, first_tile, last_tile);
  });
}

}  // namespace

BitPlaneProduct Avx512Bf16Prefill() {
  return {Bf16Bytes, PackBf16, MultiplyBf16};
}

BitPlaneProduct Avx512Float32Prefill(bool float16_tables) {
  return {Float32Bytes, PackFloat32,
          float16_tables ? MultiplyFloat32<true> : MultiplyFloat32<false>};
}

}  // namespace anyprec
