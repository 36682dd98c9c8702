// Bit-plane products for AVX2, FMA and F16C: vpmaddwd or FMA multiplies what
// bit_plane_avx2.h decodes.
#include "kernels/cpu/bit_plane_avx2.h"

#include <float.h>
#include <immintrin.h>

#include "kernels/cpu/bit_plane_kernels.h"

namespace anyprec {
namespace {

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

ANYPREC_INLINE int FirstColumn(int block) { return block * kBlockColumns; }

// Past the last column, padding included, of a scale block.
ANYPREC_INLINE int PaddedEnd(const PackedWeights& weights, int block) {
  return block == weights.scale_blocks - 1 ? weights.chunks * kChunkColumns
                                           : (block + 1) * kBlockColumns;
}

// Columns of a scale block without padding: a multiple of 32.
ANYPREC_INLINE int BlockColumns(const PackedWeights& weights, int block) {
  const int padded_end = PaddedEnd(weights, block);
  return (padded_end < weights.k ? padded_end : weights.k) - FirstColumn(block);
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

// Writes the columns of a scale block, padding included, in DecodedOrder.
template <typename Value>
void StorePacked(const Value* columns, int count, Value* out) {
  int first = 0;
  if (count >= kBlockColumns) {
    for (int i = 0; i < kBlockColumns; ++i) {
      out[i] = columns[kDecodedOrder.block[i]];
    }
    first = kBlockColumns;
  }
  for (; first < count; first += kChunkColumns) {
    for (int i = 0; i < kChunkColumns; ++i) {
      out[first + i] = columns[first + kDecodedOrder.chunk[i]];
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

ANYPREC_INLINE float SumLanes(__m256 v) {
  __m128 sum =
      _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  sum = _mm_add_ss(sum, _mm_movehdup_ps(sum));
  return _mm_cvtss_f32(sum);
}

ANYPREC_INLINE float LargestLane(__m256 v) {
  __m128 largest =
      _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  largest = _mm_max_ps(largest, _mm_movehl_ps(largest, largest));
  largest = _mm_max_ss(largest, _mm_movehdup_ps(largest));
  return _mm_cvtss_f32(largest);
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

// The scale of `columns` values.
float BlockScale(const float* x, int columns) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 sums = _mm256_setzero_ps();
  __m256 largest = _mm256_setzero_ps();
  for (int i = 0; i < columns; i += 8) {
    const __m256 magnitudes = _mm256_andnot_ps(sign, _mm256_loadu_ps(x + i));
    sums = _mm256_add_ps(sums, magnitudes);
    largest = _mm256_max_ps(magnitudes, largest);
  }
  float scale = SumLanes(sums) / kMaxMagnitudeSum;
  const float largest_scale = LargestLane(largest) / kMaxInt16;
  if (largest_scale > scale) scale = largest_scale;
  return scale < kMinScale ? 0.0f : scale;
}

// Rounds x / scale.
void QuantizeColumns(const float* x, int columns, float scale, int16_t* out) {
  const __m256 inverse = _mm256_set1_ps(1.0f / scale);
  const auto round = [&](int i) __attribute__((always_inline)) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), inverse));
  };
  for (int i = 0; i < columns; i += 16) {
    const __m256i words = _mm256_packs_epi32(round(i), round(i + 8));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + i),
                       _mm256_permute4x64_epi64(words, 0xd8));
  }
}

void PackInt16(const BitPlaneJob& job, int begin, int end) {
  const PackedWeights& weights = job.weights;
  for (int m = begin; m < end; ++m) {
    for (int block = 0; block < weights.scale_blocks; ++block) {
      const int first = FirstColumn(block);
      const int columns = BlockColumns(weights, block);
      const float* const x = job.x + static_cast<size_t>(m) * weights.k + first;
      const float scale = BlockScale(x, columns);
      Int16Scales(job, m)[block] = scale;
      alignas(32) int16_t quantized[kMaxScaleBlockColumns] = {};
      // What is not finite becomes the scale, and so every result of its row.
      if (scale > 0.0f && scale <= FLT_MAX) {
        QuantizeColumns(x, columns, scale, quantized);
      }
      StorePacked(quantized, PaddedEnd(weights, block) - first,
                  Int16Row(job, m) + first);
    }
  }
}

// sum + the products of neighbouring words. In assembly because gcc 12 else
// gathers products before it adds them, and keeps them and sums in memory.
ANYPREC_INLINE __m256i MultiplyAddWords(__m256i a, __m256i b, __m256i sum) {
  __m256i products;
  asm("vpmaddwd %3, %2, %1\n\t"
      "vpaddd %1, %0, %0"
      : "+x"(sum), "=&x"(products)
      : "x"(a), "x"(b));
  return sum;
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
            sum = MultiplyAddWords(w, columns, sum);
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

ANYPREC_INLINE float* Float32Row(const BitPlaneJob& job, int m) {
  return reinterpret_cast<float*>(job.packed_x) +
         m * PaddedColumns(job.weights);
}

size_t Float32Bytes(const BitPlaneJob& job) {
  return job.rows * PaddedColumns(job.weights) * sizeof(float);
}

void PackFloat32(const BitPlaneJob& job, int begin, int end) {
  const PackedWeights& weights = job.weights;
  for (int m = begin; m < end; ++m) {
    for (int block = 0; block < weights.scale_blocks; ++block) {
      const int first = FirstColumn(block);
      float values[kMaxScaleBlockColumns] = {};
      __builtin_memcpy(values,
                       job.x + static_cast<size_t>(m) * weights.k + first,
                       BlockColumns(weights, block) * sizeof(float));
      StorePacked(values, PaddedEnd(weights, block) - first,
                  Float32Row(job, m) + first);
    }
  }
}

// ---- Batches: lanes are the 16 rows of a tile, decoded to a *panel*
// [steps][16 rows] that all rows of x share. A step is 32 bits: two int16
// values or one fp32, which a row of x broadcasts.

template <typename Value>
constexpr int kStepValues = 4 / sizeof(Value);

struct Int16Way {
  using Value = int16_t;
  using Vector = __m256i;

  static ANYPREC_INLINE const Value* Row(const BitPlaneJob& job, int m) {
    return Int16Row(job, m);
  }
  static ANYPREC_INLINE void StoreDecoded(Value* out, __m256i w) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(out), w);
  }
  static ANYPREC_INLINE Vector Zero() { return _mm256_setzero_si256(); }
  static ANYPREC_INLINE Vector Load(const Value* values) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(values));
  }
  static ANYPREC_INLINE Vector Broadcast(const Value* values) {
    int32_t step;
    __builtin_memcpy(&step, values, sizeof(step));
    return _mm256_set1_epi32(step);
  }
  static ANYPREC_INLINE Vector MultiplyAdd(Vector a, Vector b, Vector sum) {
    return MultiplyAddWords(a, b, sum);
  }
  static ANYPREC_INLINE __m256 BlockSums(const BitPlaneJob& job, int m,
                                         int block, Vector sums) {
    return _mm256_mul_ps(_mm256_cvtepi32_ps(sums),
                         _mm256_set1_ps(Int16Scales(job, m)[block]));
  }
};

struct Float32Way {
  using Value = float;
  using Vector = __m256;

  static ANYPREC_INLINE const Value* Row(const BitPlaneJob& job, int m) {
    return Float32Row(job, m);
  }
  static ANYPREC_INLINE void StoreDecoded(Value* out, __m256i w) {
    _mm256_store_ps(out, _mm256_cvtph_ps(_mm256_castsi256_si128(w)));
    _mm256_store_ps(out + 8, _mm256_cvtph_ps(_mm256_extracti128_si256(w, 1)));
  }
  static ANYPREC_INLINE Vector Zero() { return _mm256_setzero_ps(); }
  static ANYPREC_INLINE Vector Load(const Value* values) {
    return _mm256_load_ps(values);
  }
  static ANYPREC_INLINE Vector Broadcast(const Value* values) {
    return _mm256_set1_ps(*values);
  }
  static ANYPREC_INLINE Vector MultiplyAdd(Vector a, Vector b, Vector sum) {
    return _mm256_fmadd_ps(a, b, sum);
  }
  static ANYPREC_INLINE __m256 BlockSums(const BitPlaneJob&, int, int,
                                         Vector sums) {
    return sums;
  }
};

// Steps that fill a vector.
constexpr int kVectorSteps = 8;

// Transposes 8 rows of 8 steps, `stride` values apart, to steps kTileRows
// apart.
template <typename Value>
ANYPREC_INLINE void TransposeSteps(const Value* rows, int stride, Value* out) {
  constexpr int kHalf = 16 / sizeof(Value);
  const auto load = [&](int row, int half) __attribute__((always_inline)) {
    return _mm_load_si128(
        reinterpret_cast<const __m128i*>(rows + row * stride + half * kHalf));
  };
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    __m256i v[4];  // four steps of rows i and i + 4
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      v[i] = _mm256_set_m128i(load(i + 4, half), load(i, half));
    }
    const __m256i low01 = _mm256_unpacklo_epi32(v[0], v[1]);
    const __m256i high01 = _mm256_unpackhi_epi32(v[0], v[1]);
    const __m256i low23 = _mm256_unpacklo_epi32(v[2], v[3]);
    const __m256i high23 = _mm256_unpackhi_epi32(v[2], v[3]);
    const __m256i steps[4] = {_mm256_unpacklo_epi64(low01, low23),
                              _mm256_unpackhi_epi64(low01, low23),
                              _mm256_unpacklo_epi64(high01, high23),
                              _mm256_unpackhi_epi64(high01, high23)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      _mm256_store_si256(
          reinterpret_cast<__m256i*>(out + (half * 4 + i) * kTileRows *
                                               kStepValues<Value>),
          steps[i]);
    }
  }
}

// Decodes a scale block of a tile to its panel.
template <typename Way, int kBits>
void DecodePanel(const PackedWeights& weights, int tile, int block, int columns,
                 typename Way::Value* panel) {
  using Value = typename Way::Value;
  alignas(32) Value rows[kVectorSteps * kMaxScaleBlockColumns];
  for (int first = 0; first < kTileRows; first += kVectorSteps) {
    for (int i = 0; i < kVectorSteps; ++i) {
      const int lane = first + i;
      Value* const out = rows + i * columns;
      const RowTable<kBits> table =
          LoadTable<kBits>(weights.tables, tile * kTileRows + lane);
      DecodeScaleBlock<kBits>(
          weights, table, tile, block,
          lane, [&](int vector, __m256i w) __attribute__((always_inline)) {
            Way::StoreDecoded(out + vector * kLanes, w);
          });
    }
    Value* out = panel + first * kStepValues<Value>;
    for (int column = 0; column < columns;
         column += kVectorSteps * kStepValues<Value>) {
      TransposeSteps(rows + column, columns, out + column * kTileRows);
    }
  }
}

// Rows of x that share the loads of a panel: with two vectors each, their sums
// take 12 of 16 registers.
constexpr int kSharedRows = 6;

// Rows of x that share one decoding of a tile; their sums take 15 KiB.
constexpr int kMaxRows = 40 * kSharedRows;

// Adds the products of a panel with rows [m, m + kRows) of x to totals
// [kRows][kTileRows].
template <typename Way, int kRows>
void MultiplyPanel(const BitPlaneJob& job, int m, int block,
                   const typename Way::Value* panel, int columns,
                   float* totals) {
  using Value = typename Way::Value;
  using Vector = typename Way::Vector;
  const Value* x[kRows];
  Vector sums[kRows][2];
  for (int i = 0; i < kRows; ++i) {
    x[i] = Way::Row(job, m + i) + FirstColumn(block);
    sums[i][0] = sums[i][1] = Way::Zero();
  }
  for (int column = 0; column < columns; column += kStepValues<Value>) {
    const Vector w0 = Way::Load(panel + column * kTileRows);
    const Vector w1 =
        Way::Load(panel + column * kTileRows + 8 * kStepValues<Value>);
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i) {
      const Vector activations = Way::Broadcast(x[i] + column);
      sums[i][0] = Way::MultiplyAdd(w0, activations, sums[i][0]);
      sums[i][1] = Way::MultiplyAdd(w1, activations, sums[i][1]);
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int half = 0; half < 2; ++half) {
      float* const total = totals + i * kTileRows + 8 * half;
      _mm256_store_ps(total, _mm256_add_ps(_mm256_load_ps(total),
                                           Way::BlockSums(job, m + i, block,
                                                          sums[i][half])));
    }
  }
}

template <typename Way>
void MultiplyPanelRows(const BitPlaneJob& job, int m, int rows, int block,
                       const typename Way::Value* panel, int columns,
                       float* totals) {
  switch (rows) {
    case 1:
      return MultiplyPanel<Way, 1>(job, m, block, panel, columns, totals);
    case 2:
      return MultiplyPanel<Way, 2>(job, m, block, panel, columns, totals);
    case 3:
      return MultiplyPanel<Way, 3>(job, m, block, panel, columns, totals);
    case 4:
      return MultiplyPanel<Way, 4>(job, m, block, panel, columns, totals);
    case 5:
      return MultiplyPanel<Way, 5>(job, m, block, panel, columns, totals);
    default:
      return MultiplyPanel<Way, kSharedRows>(job, m, block, panel, columns,
                                             totals);
  }
}

void StoreTileRow(const BitPlaneJob& job, int tile, int m,
                  const float* totals) {
  const int first = tile * kTileRows;
  const int tile_rows = TileRows(job.weights, tile);
  if (tile_rows < kTileRows) {
    for (int lane = 0; lane < tile_rows; ++lane) {
      StoreResult(job, m, first + lane, totals[lane]);
    }
    return;
  }
  float* const y = job.y + static_cast<size_t>(m) * job.weights.n + first;
#pragma GCC unroll 2
  for (int i = 0; i < kTileRows; i += 8) {
    __m256 value =
        _mm256_mul_ps(_mm256_load_ps(totals + i),
                      _mm256_loadu_ps(job.weights.row_scales + first + i));
    if (job.accumulate) value = _mm256_add_ps(_mm256_loadu_ps(y + i), value);
    _mm256_storeu_ps(y + i, value);
  }
}

template <typename Way, int kBits>
void MultiplyBatchTile(const BitPlaneJob& job, int tile, int first_row,
                       int rows) {
  alignas(32) typename Way::Value panel[kTileRows * kMaxScaleBlockColumns];
  alignas(32) float totals[kMaxRows * kTileRows];
  __builtin_memset(totals, 0, rows * kTileRows * sizeof(float));
  const PackedWeights& weights = job.weights;
  for (int block = 0; block < weights.scale_blocks; ++block) {
    const int columns = PaddedEnd(weights, block) - FirstColumn(block);
    DecodePanel<Way, kBits>(weights, tile, block, columns, panel);
    for (int m = 0; m < rows; m += kSharedRows) {
      MultiplyPanelRows<Way>(job, first_row + m, rows - m, block, panel,
                             columns, totals + m * kTileRows);
    }
  }
  for (int m = 0; m < rows; ++m) {
    StoreTileRow(job, tile, first_row + m, totals + m * kTileRows);
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
