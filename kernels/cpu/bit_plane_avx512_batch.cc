// Products of many rows for AVX-512 without AMX: prefill rows, and decode rows
// in batches. Lanes are 16 rows of x, a weight is broadcast to them.
//
// In int16 mode prefill rows and their weights are bytes up to kMaxByteBits
// bits (vpdpbusd), and int16 above (vpdpwssd), which takes 1.7 times as long.
#include "kernels/cpu/bit_plane_avx512_bytes.h"
#include "kernels/cpu/bit_plane_avx512_panel.h"
#include "kernels/cpu/bit_plane_avx512_products.h"

namespace anyprec {
namespace {

// A way to multiply has what MultiplyPanels and PackGroups ask for and
//   DecodeRow<kBits>(weights, tile, block, lane, out)
//       one row of a tile, [slices] kSliceBytes apart
//   MultiplyTile<kRows, kGroups>(product)
//       one tile, kRows of its rows at a time, times kGroups groups
template <typename Way, int kBits>
struct Kernel : Way {
  static constexpr int kPanelTiles = 4;
  static constexpr int kTiles = 1;
  static constexpr int kGroups = 4;

  static void DecodeTile(const PackedWeights& weights, int tile, int block,
                         uint8_t* slices) {
    for (int lane = 0; lane < kTileRows; ++lane) {
      Way::template DecodeRow<kBits>(weights, tile, block, lane,
                                     slices + lane * kVectorBytes);
    }
  }

  // Sixteen sums in registers: enough to hide the latency of a product, and a
  // step loads fewer operands than it multiplies.
  static void Multiply(TileProduct product) {
    if (product.groups == 4) {
      Way::template MultiplyTile<4, 4>(product);
      return;
    }
    if (product.groups >= 2) {
      Way::template MultiplyTile<8, 2>(product);
      product.x += 2 * product.x_stride;
      product.sums += 2 * kTileSums;
    }
    if (product.groups % 2 == 1) Way::template MultiplyTile<16, 1>(product);
  }
};

// ---- Integers.

// kRows weight rows times kGroups groups over `slices` slices: adds to `sums`.
// The product is written in assembly, and steps are not unrolled, because gcc
// 12 else copies each sum to another register and back, or to memory.
template <typename Way, int kRows, int kGroups>
ANYPREC_INLINE void MultiplySlices(const uint8_t* weights, const uint8_t* x,
                                   size_t x_stride, int slices,
                                   __m512i (&sums)[kRows][kGroups]) {
  for (int slice = 0; slice < slices; ++slice) {
    const auto* const w =
        reinterpret_cast<const int32_t*>(weights + slice * kSliceBytes);
    for (int step = 0; step < 16; ++step) {
      __m512i columns[kGroups];
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        columns[g] = _mm512_load_si512(x + g * x_stride);
      }
      x += kVectorBytes;
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const __m512i weight = _mm512_set1_epi32(w[r * 16 + step]);
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) {
          Way::MultiplyAdd(weight, columns[g], sums[r][g]);
        }
      }
    }
  }
}

// Weights are unsigned: 128 more than they are. To make up for it, the sum of
// products begins at -128 times the sum of the activations.
//
// A sum is over a chunk, which has one scale for each row of x. A chunk of x is
//
//   slice   [16 steps][16 rows]
//   scales  [16 rows] fp32
//   starts  [16 rows] int32: where the sums begin
struct Bytes {
  static constexpr int kChunkSlices = 1;
  static constexpr int kXChunkBytes = kSliceBytes + 2 * kVectorBytes;
  static constexpr int kXScalesBytes = 0;
  static constexpr int kStepChunks = kStepSlices / kChunkSlices;

  static ANYPREC_INLINE void MultiplyAdd(__m512i w, __m512i x, __m512i& sum) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
  }

  template <int kRows, int kGroups>
  static void MultiplyTile(const TileProduct& product) {
    for (int row = 0; row < kTileRows; row += kRows) {
      for (int chunk = 0; chunk < product.chunks; ++chunk) {
        MultiplyChunk<kRows, kGroups>(
            product.weights + chunk * kSliceBytes + row * kVectorBytes,
            product.x + chunk * kXChunkBytes, product.x_stride,
            product.first && chunk == 0, product.sums + row * 16);
      }
    }
  }

  template <int kRows, int kGroups>
  static ANYPREC_INLINE void MultiplyChunk(const uint8_t* weights,
                                           const uint8_t* x, size_t x_stride,
                                           bool first, float* out) {
    __m512i sums[kRows][kGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      const __m512i start =
          _mm512_load_si512(x + g * x_stride + kSliceBytes + kVectorBytes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[r][g] = start;
    }
    MultiplySlices<Bytes>(weights, x, x_stride, 1, sums);
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      const __m512 scale = _mm512_load_ps(x + g * x_stride + kSliceBytes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        float* const total = out + g * kTileSums + r * 16;
        const __m512 before =
            first ? _mm512_setzero_ps() : _mm512_load_ps(total);
        _mm512_store_ps(total, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][g]),
                                               scale, before));
      }
    }
  }

  template <int kBits>
  static ANYPREC_INLINE void DecodeRow(const PackedWeights& weights, int tile,
                                       int block, int lane, uint8_t* out) {
    // Modulo 256, +128 is -128.
    const __m512i table = _mm512_add_epi8(
        LoadByteTable<kBits>(weights.tables, tile * kTileRows + lane),
        _mm512_set1_epi8(-128));
    DecodeRowToBytes<kBits>(weights, table, tile, block, lane, out);
  }

  static ANYPREC_INLINE void PackBlock(const float* x, int rows, int k,
                                       int columns, uint8_t* out) {
    for (int first = 0; first < columns; first += kChunkColumns) {
      PackChunk(x + first, rows, k, ChunkColumns(columns, first), out);
      out += kXChunkBytes;
    }
  }

  static ANYPREC_INLINE void PackChunk(const float* x, int rows, int k,
                                       int columns, uint8_t* out) {
    __m512i slice[16] = {};
    auto* const scales = reinterpret_cast<float*>(out + kSliceBytes);
    for (int i = 0; i < 16; ++i) {
      scales[i] = 0.0f;
      if (i >= rows) continue;
      const float* const row = x + static_cast<size_t>(i) * k;
      const float scale = ByteScale(row, columns);
      scales[i] = scale;
      slice[i] = QuantizeToBytes(row, columns, InverseScale(scale));
    }
    StoreSlice(slice, out);
    // Transposed by now: 4 columns of each row a vector.
    __m512i sums = _mm512_setzero_si512();
    for (const __m512i& step : slice) {
      sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi8(-128), step);
    }
    _mm512_store_si512(out + kSliceBytes + kVectorBytes,
                       _mm512_sub_epi32(_mm512_setzero_si512(), sums));
  }
};

// A sum is over a scale block, exact: the results are those of decode rows
// (bit_plane_avx512.cc). A block of x is its chunks, and then
//
//   scales  [16 rows] fp32
struct Words {
  static constexpr int kChunkSlices = kChunkVectors;
  static constexpr int kXChunkBytes = kChunkSlices * kSliceBytes;
  static constexpr int kXScalesBytes = kVectorBytes;
  static constexpr int kStepChunks = kMaxScaleBlockChunks;

  static ANYPREC_INLINE void MultiplyAdd(__m512i w, __m512i x, __m512i& sum) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
  }

  template <int kRows, int kGroups>
  static void MultiplyTile(const TileProduct& product) {
    const TileProduct p = product;  // in registers, as stores may alias it
    const uint8_t* const scales = p.x + p.chunks * kXChunkBytes;
    for (int row = 0; row < kTileRows; row += kRows) {
      __m512i sums[kRows][kGroups];
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) sums[r][g] = _mm512_setzero_si512();
      }
      MultiplySlices<Words>(p.weights + row * kVectorBytes, p.x, p.x_stride,
                            p.chunks * kChunkSlices, sums);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        const __m512 scale = _mm512_load_ps(scales + g * p.x_stride);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          float* const total = p.sums + g * kTileSums + (row + r) * 16;
          const __m512 before =
              p.first ? _mm512_setzero_ps() : _mm512_load_ps(total);
          const __m512 scaled =
              _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][g]), scale);
          _mm512_store_ps(total, _mm512_add_ps(before, scaled));
        }
      }
    }
  }

  template <int kBits>
  static ANYPREC_INLINE void DecodeRow(const PackedWeights& weights, int tile,
                                       int block, int lane, uint8_t* out) {
    const RowTable<kBits> table =
        LoadTable<kBits>(weights.tables, tile * kTileRows + lane);
    DecodeScaleBlock<kBits>(
        weights, table, tile, block,
        lane, [&](int vector, __m512i w) __attribute__((always_inline)) {
          _mm512_store_si512(out + vector * kSliceBytes, w);
        });
  }

  static ANYPREC_INLINE void PackBlock(const float* x, int rows, int k,
                                       int columns, uint8_t* out) {
    alignas(64) float scales[16] = {};
    float inverse[16];
    for (int i = 0; i < rows; ++i) {
      scales[i] = Int16Scale(x + static_cast<size_t>(i) * k, columns);
      inverse[i] = InverseScale(scales[i]);
    }
    for (int first = 0; first < columns; first += kChunkColumns) {
      __m512i even[16] = {};
      __m512i odd[16] = {};
      for (int i = 0; i < rows; ++i) {
        QuantizeToInt16(x + static_cast<size_t>(i) * k + first,
                        ChunkColumns(columns, first), inverse[i], even[i],
                        odd[i]);
      }
      StoreSlice(even, out);
      StoreSlice(odd, out + kSliceBytes);
      out += kXChunkBytes;
    }
    _mm512_store_ps(out, _mm512_load_ps(scales));
  }
};

// ---- fp32, from tables of fp16.

struct Floats {
  static constexpr int kChunkSlices = 4;
  static constexpr int kXChunkBytes = kChunkSlices * kSliceBytes;
  static constexpr int kXScalesBytes = 0;
  static constexpr int kStepChunks = kStepSlices / kChunkSlices;

  template <int kRows, int kGroups>
  static void MultiplyTile(const TileProduct& product) {
    for (int row = 0; row < kTileRows; row += kRows) {
      float* const sums = product.sums + row * 16;
      __m512 acc[kRows][kGroups];
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) {
          acc[r][g] = product.first
                          ? _mm512_setzero_ps()
                          : _mm512_load_ps(sums + g * kTileSums + r * 16);
        }
      }
      for (int slice = 0; slice < product.chunks * kChunkSlices; ++slice) {
        const uint8_t* const x = product.x + slice * kSliceBytes;
        const auto* const w = reinterpret_cast<const float*>(
            product.weights + slice * kSliceBytes + row * kVectorBytes);
#pragma GCC unroll 2
        for (int step = 0; step < 16; ++step) {
          __m512 columns[kGroups];
#pragma GCC unroll 4
          for (int g = 0; g < kGroups; ++g) {
            columns[g] =
                _mm512_load_ps(x + g * product.x_stride + step * kVectorBytes);
          }
#pragma GCC unroll 16
          for (int r = 0; r < kRows; ++r) {
            const __m512 weight = _mm512_set1_ps(w[r * 16 + step]);
#pragma GCC unroll 4
            for (int g = 0; g < kGroups; ++g) {
              acc[r][g] = _mm512_fmadd_ps(weight, columns[g], acc[r][g]);
            }
          }
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) {
          _mm512_store_ps(sums + g * kTileSums + r * 16, acc[r][g]);
        }
      }
    }
  }

  template <int kBits>
  static ANYPREC_INLINE void DecodeRow(const PackedWeights& weights, int tile,
                                       int block, int lane, uint8_t* out) {
    const RowTable<kBits> table =
        LoadTable<kBits>(weights.tables, tile * kTileRows + lane);
    DecodeScaleBlock<kBits>(
        weights, table, tile, block,
        lane, [&](int vector, __m512i w) __attribute__((always_inline)) {
          uint8_t* const slice = out + 2 * vector * kSliceBytes;
          _mm512_store_ps(slice, _mm512_cvtph_ps(_mm512_castsi512_si256(w)));
          _mm512_store_ps(slice + kSliceBytes,
                          _mm512_cvtph_ps(_mm512_extracti64x4_epi64(w, 1)));
        });
  }

  // The four vectors of 16 columns that a chunk decodes to: even columns of the
  // first and second half, then odd ones.
  static ANYPREC_INLINE void Load(const float* x, int columns,
                                  __m512 (&out)[kChunkSlices]) {
    __m512 in[4];
    for (int i = 0; i < 4; ++i) {
      in[i] =
          16 * i < columns ? _mm512_loadu_ps(x + 16 * i) : _mm512_setzero_ps();
    }
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14,
                                          12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13,
                                         11, 9, 7, 5, 3, 1);
    out[0] = _mm512_permutex2var_ps(in[0], even, in[1]);
    out[1] = _mm512_permutex2var_ps(in[2], even, in[3]);
    out[2] = _mm512_permutex2var_ps(in[0], odd, in[1]);
    out[3] = _mm512_permutex2var_ps(in[2], odd, in[3]);
  }

  static ANYPREC_INLINE void PackBlock(const float* x, int rows, int k,
                                       int columns, uint8_t* out) {
    for (int first = 0; first < columns; first += kChunkColumns) {
      __m512i slices[kChunkSlices][16] = {};
      for (int i = 0; i < rows; ++i) {
        __m512 vectors[kChunkSlices];
        Load(x + static_cast<size_t>(i) * k + first,
             ChunkColumns(columns, first), vectors);
        for (int s = 0; s < kChunkSlices; ++s) {
          slices[s][i] = _mm512_castps_si512(vectors[s]);
        }
      }
      for (int s = 0; s < kChunkSlices; ++s) {
        StoreSlice(slices[s], out + s * kSliceBytes);
      }
      out += kXChunkBytes;
    }
  }
};

// ---- Products.

size_t IntegerBytes(const BitPlaneJob& job) {
  return job.weights.precision <= kMaxByteBits ? PackedBytes<Bytes>(job)
                                               : PackedBytes<Words>(job);
}

void PackIntegers(const BitPlaneJob& job, int begin, int end) {
  if (job.weights.precision <= kMaxByteBits) {
    PackGroups<Bytes>(job, begin, end);
  } else {
    PackGroups<Words>(job, begin, end);
  }
}

template <typename Way>
void MultiplyAs(const BitPlaneJob& job, int first_tile, int last_tile) {
  DispatchPrecision(job.weights.precision, [&]<int kBits>() {
    MultiplyPanels<Kernel<Way, kBits>>(job, first_tile, last_tile);
  });
}

void MultiplyIntegers(const BitPlaneJob& job, int first_tile, int last_tile) {
  DispatchPrecision(job.weights.precision, [&]<int kBits>() {
    if constexpr (kBits <= kMaxByteBits) {
      MultiplyPanels<Kernel<Bytes, kBits>>(job, first_tile, last_tile);
    } else {
      MultiplyPanels<Kernel<Words, kBits>>(job, first_tile, last_tile);
    }
  });
}

// Decode rows: batches as panels, the others one by one, with equal results.

// From so many rows on, a group of 16 takes less time than that many rows.
constexpr int kMinBatchRows = 12;

// Rows [0, BatchRows) make batches; the others are left.
int BatchRows(int rows) {
  return rows % 16 < kMinBatchRows ? rows - rows % 16 : rows;
}

size_t DecodeBytes(const BitPlaneJob& job) {
  BitPlaneJob batches = job;
  BitPlaneJob rest = job;
  batches.rows = BatchRows(job.rows);
  rest.rows = job.rows - batches.rows;
  return PackedBytes<Words>(batches) + Avx512Int16Gemv().packed_bytes(rest);
}

// REQUIRES: job.packed_x is not null.
struct DecodeJobs {
  explicit DecodeJobs(const BitPlaneJob& job) : batches(job), rest(job) {
    batches.rows = BatchRows(job.rows);
    rest.rows = job.rows - batches.rows;
    rest.x += static_cast<size_t>(batches.rows) * job.weights.k;
    rest.y += static_cast<size_t>(batches.rows) * job.weights.n;
    rest.packed_x += PackedBytes<Words>(batches);
  }

  BitPlaneJob batches;
  BitPlaneJob rest;
};

void PackDecode(const BitPlaneJob& job, int begin, int end) {
  const DecodeJobs jobs(job);
  const int first_left = jobs.batches.rows;
  if (begin < first_left) {
    PackGroups<Words>(jobs.batches, begin, end < first_left ? end : first_left);
  }
  if (end > first_left) {
    Avx512Int16Gemv().pack(jobs.rest,
                           begin > first_left ? begin - first_left : 0,
                           end - first_left);
  }
}

void MultiplyDecode(const BitPlaneJob& job, int first_tile, int last_tile) {
  const DecodeJobs jobs(job);
  if (jobs.batches.rows > 0) {
    MultiplyAs<Words>(jobs.batches, first_tile, last_tile);
  }
  if (jobs.rest.rows > 0) {
    Avx512Int16Gemv().multiply(jobs.rest, first_tile, last_tile);
  }
}

}  // namespace

BitPlaneProduct Avx512Int16Decode() {
  return {DecodeBytes, PackDecode, MultiplyDecode};
}

BitPlaneProduct Avx512IntegerPrefill() {
  return {IntegerBytes, PackIntegers, MultiplyIntegers};
}

BitPlaneProduct Avx512Float32Prefill() {
  return {PackedBytes<Floats>, PackGroups<Floats>, MultiplyAs<Floats>};
}

}  // namespace anyprec
