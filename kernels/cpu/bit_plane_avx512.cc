// Bit-plane products of few rows for AVX-512 (VBMI, VNNI, GFNI): a GEMV that
// computes up to eight rows of x for each weight decoded.
//
// Decoding 512 weights takes a few instructions for each vector of 32: planes
// are interleaved bytewise, gf2p8affineqb turns 8 x 8 bits into indices, vpermw
// (to 5 bits) or vpermb (from 6 on) looks them up, vpdpwssd multiplies. Each of
// 16 rows leaves a vector of partial sums, which SumLanes joins to one.
#include "kernels/cpu/bit_plane_avx512.h"

#include "kernels/cpu/bit_plane_avx512_products.h"

namespace anyprec {
namespace {

// ---- int16. Packed x: [rows][chunks][2][32] int16, then scales
// [rows][scale_blocks] fp32.

ANYPREC_INLINE size_t Int16RowBytes(const PackedWeights& weights) {
  return static_cast<size_t>(weights.chunks) * kChunkVectors * kVectorBytes;
}

ANYPREC_INLINE const uint8_t* Int16Row(const BitPlaneJob& job, int m) {
  return job.packed_x + m * Int16RowBytes(job.weights);
}

ANYPREC_INLINE float* Int16Scales(const BitPlaneJob& job, int m) {
  return reinterpret_cast<float*>(job.packed_x +
                                  job.rows * Int16RowBytes(job.weights)) +
         static_cast<size_t>(m) * job.weights.scale_blocks;
}

size_t Int16Bytes(const BitPlaneJob& job) {
  return job.rows * (Int16RowBytes(job.weights) +
                     sizeof(float) * job.weights.scale_blocks);
}

void PackInt16Row(const BitPlaneJob& job, int m) {
  const PackedWeights& weights = job.weights;
  const float* const x = job.x + static_cast<size_t>(m) * weights.k;
  uint8_t* out = job.packed_x + m * Int16RowBytes(weights);
  for (int block = 0; block < weights.scale_blocks; ++block) {
    const int first = block * kBlockColumns;
    const int last =
        block == weights.scale_blocks - 1 ? weights.k : first + kBlockColumns;
    const float scale = Int16Scale(x + first, last - first);
    Int16Scales(job, m)[block] = scale;
    for (int i = first; i < last; i += kChunkColumns) {
      const int left = last - i;
      __m512i even;
      __m512i odd;
      QuantizeToInt16(x + i, left < kChunkColumns ? left : kChunkColumns,
                      InverseScale(scale), even, odd);
      _mm512_store_si512(out, even);
      _mm512_store_si512(out + kVectorBytes, odd);
      out += kChunkVectors * kVectorBytes;
    }
  }
}

void PackInt16(const BitPlaneJob& job, int begin, int end) {
  for (int m = begin; m < end; ++m) PackInt16Row(job, m);
}

// Rows [m, m + kRows) of x times the 16 weight rows of a tile.
template <int kBits, int kRows>
void MultiplyTileInt16(const BitPlaneJob& job, int tile, int m) {
  // One row's 16 dependent vpdpwssd of a block, five cycles each, would take
  // longer than the rest of its work; several rows hide each other's.
  constexpr int kChains = kRows == 1 ? 2 : 1;
  const PackedWeights& weights = job.weights;
  __m512 totals[kRows];
  for (int i = 0; i < kRows; ++i) totals[i] = _mm512_setzero_ps();
  for (int block = 0; block < weights.scale_blocks; ++block) {
    const uint8_t* x[kRows];
    for (int i = 0; i < kRows; ++i) {
      x[i] = Int16Row(job, m + i) +
             static_cast<size_t>(block) * kBlockVectors * kVectorBytes;
    }
    __m512i partial_sums[kRows][kTileRows];
    for (int lane = 0; lane < kTileRows; ++lane) {
      const RowTable<kBits> table =
          LoadTable<kBits>(weights.tables, tile * kTileRows + lane);
      __m512i sums[kRows][kChains];
      for (int i = 0; i < kRows; ++i) {
        for (int j = 0; j < kChains; ++j) sums[i][j] = _mm512_setzero_si512();
      }
      DecodeScaleBlock<kBits>(
          weights, table, tile, block,
          lane, [&](int vector, __m512i w) __attribute__((always_inline)) {
#pragma GCC unroll 8
            for (int i = 0; i < kRows; ++i) {
              __m512i& sum = sums[i][vector % kChains];
              sum = _mm512_dpwssd_epi32(
                  sum, w, _mm512_load_si512(x[i] + vector * kVectorBytes));
            }
          });
      for (int i = 0; i < kRows; ++i) {
        partial_sums[i][lane] = sums[i][0];
        for (int j = 1; j < kChains; ++j) {
          partial_sums[i][lane] =
              _mm512_add_epi32(partial_sums[i][lane], sums[i][j]);
        }
      }
    }
    for (int i = 0; i < kRows; ++i) {
      const __m512 sums = _mm512_cvtepi32_ps(SumLanes(partial_sums[i]));
      const __m512 scale = _mm512_set1_ps(Int16Scales(job, m + i)[block]);
      totals[i] = _mm512_add_ps(totals[i], _mm512_mul_ps(sums, scale));
    }
  }
  for (int i = 0; i < kRows; ++i) StoreTileRow(job, tile, m + i, totals[i]);
}

template <int kBits>
void MultiplyTilesInt16(const BitPlaneJob& job, int first_tile, int last_tile,
                        int first_row, int last_row) {
  for (int tile = first_tile; tile < last_tile; ++tile) {
    int m = first_row;
    for (; m + 8 <= last_row; m += 8) MultiplyTileInt16<kBits, 8>(job, tile, m);
    for (; m + 4 <= last_row; m += 4) MultiplyTileInt16<kBits, 4>(job, tile, m);
    for (; m + 2 <= last_row; m += 2) MultiplyTileInt16<kBits, 2>(job, tile, m);
    if (m < last_row) MultiplyTileInt16<kBits, 1>(job, tile, m);
  }
}

void MultiplyInt16(const BitPlaneJob& job, int first_tile, int last_tile) {
  Avx512MultiplyInt16Rows(job, first_tile, last_tile, 0, job.rows);
}

// ---- fp32. Packed x: [rows][chunks][2][32] fp32.

ANYPREC_INLINE size_t Float32RowFloats(const PackedWeights& weights) {
  return static_cast<size_t>(weights.chunks) * kChunkColumns;
}

size_t Float32Bytes(const BitPlaneJob& job) {
  return job.rows * Float32RowFloats(job.weights) * sizeof(float);
}

void PackFloat32(const BitPlaneJob& job, int begin, int end) {
  const int k = job.weights.k;
  for (int m = begin; m < end; ++m) {
    const float* const x = job.x + static_cast<size_t>(m) * k;
    float* out = reinterpret_cast<float*>(job.packed_x) +
                 m * Float32RowFloats(job.weights);
    for (int chunk = 0; chunk < job.weights.chunks; ++chunk) {
      for (int i = 0; i < kChunkColumns; ++i) {
        const int column = chunk * kChunkColumns + 2 * (i % 32) + i / 32;
        out[i] = column < k ? x[column] : 0.0f;
      }
      out += kChunkColumns;
    }
  }
}

// As MultiplyTileInt16. Sums of the vectors' two halves are kept apart, which
// halves the chain of dependent additions.
template <int kBits, int kRows>
void MultiplyTileFloat32(const BitPlaneJob& job, int tile, int m) {
  const PackedWeights& weights = job.weights;
  const float* const packed_x = reinterpret_cast<const float*>(job.packed_x);
  __m512 totals[kRows];
  for (int i = 0; i < kRows; ++i) totals[i] = _mm512_setzero_ps();
  for (int block = 0; block < weights.scale_blocks; ++block) {
    const float* x[kRows];
    for (int i = 0; i < kRows; ++i) {
      x[i] = packed_x + (m + i) * Float32RowFloats(weights) +
             static_cast<size_t>(block) * kBlockColumns;
    }
    __m512 partial_sums[kRows][kTileRows];
    for (int lane = 0; lane < kTileRows; ++lane) {
      const RowTable<kBits> table =
          LoadTable<kBits>(weights.tables, tile * kTileRows + lane);
      __m512 sums[kRows][2];
      for (int i = 0; i < kRows; ++i) {
        sums[i][0] = sums[i][1] = _mm512_setzero_ps();
      }
      DecodeScaleBlock<kBits>(
          weights, table, tile, block,
          lane, [&](int vector, __m512i w) __attribute__((always_inline)) {
            const __m512 low = _mm512_cvtph_ps(_mm512_castsi512_si256(w));
            const __m512 high =
                _mm512_cvtph_ps(_mm512_extracti64x4_epi64(w, 1));
#pragma GCC unroll 4
            for (int i = 0; i < kRows; ++i) {
              const float* const columns = x[i] + vector * 32;
              sums[i][0] =
                  _mm512_fmadd_ps(low, _mm512_load_ps(columns), sums[i][0]);
              sums[i][1] = _mm512_fmadd_ps(high, _mm512_load_ps(columns + 16),
                                           sums[i][1]);
            }
          });
      for (int i = 0; i < kRows; ++i) {
        partial_sums[i][lane] = _mm512_add_ps(sums[i][0], sums[i][1]);
      }
    }
    for (int i = 0; i < kRows; ++i) {
      totals[i] = _mm512_add_ps(totals[i], SumLanes(partial_sums[i]));
    }
  }
  for (int i = 0; i < kRows; ++i) StoreTileRow(job, tile, m + i, totals[i]);
}

void MultiplyFloat32(const BitPlaneJob& job, int first_tile, int last_tile) {
  DispatchPrecision(job.weights.precision, [&]<int kBits>() {
    for (int tile = first_tile; tile < last_tile; ++tile) {
      int m = 0;
      for (; m + 4 <= job.rows; m += 4) {
        MultiplyTileFloat32<kBits, 4>(job, tile, m);
      }
      for (; m < job.rows; ++m) MultiplyTileFloat32<kBits, 1>(job, tile, m);
    }
  });
}

}  // namespace

void Avx512MultiplyInt16Rows(const BitPlaneJob& job, int first_tile,
                             int last_tile, int first_row, int last_row) {
  DispatchPrecision(job.weights.precision, [&]<int kBits>() {
    MultiplyTilesInt16<kBits>(job, first_tile, last_tile, first_row, last_row);
  });
}

const float* Avx512Int16Scales(const BitPlaneJob& job, int m) {
  return Int16Scales(job, m);
}

BitPlaneProduct Avx512Int16Gemv() {
  return {Int16Bytes, PackInt16, MultiplyInt16};
}

BitPlaneProduct Avx512Float32Decode() {
  return {Float32Bytes, PackFloat32, MultiplyFloat32};
}

}  // namespace anyprec
