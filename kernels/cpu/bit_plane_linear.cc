#include "kernels/cpu/bit_plane_linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/check.h"
#include "kernels/cpu/bit_plane_avx512_products.h"
#include "kernels/status_macros.h"
#include "kernels/validation.h"

namespace anyprec {
namespace {

constexpr int kRowBytesPerChunk = kChunkColumns / 8;
constexpr int kRowBytesPerBlock = kBlockColumns / 8;

int DivideRoundingUp(int a, int b) { return (a + b - 1) / b; }

// Rows are copied to this many places of the packed layout at a time.
struct PackedRow {
  uint8_t* block;  // its 64 bytes of block 0; the next block is 1 KiB further
  uint8_t* tail;   // its 8 bytes of tail chunk 0; the next is 128 bytes further
};

PackedRow LocateRow(const PackedWeights& shape, uint8_t* plane, int row) {
  const size_t tile_bytes =
      static_cast<size_t>(shape.chunks) * kTileRows * kRowBytesPerChunk;
  uint8_t* const tile = plane + row / kTileRows * tile_bytes;
  const int lane = row % kTileRows;
  uint8_t* const tail =
      tile + static_cast<size_t>(shape.blocks) * kTileRows * kRowBytesPerBlock;
  return {tile + lane * kRowBytesPerBlock, tail + lane * kRowBytesPerChunk};
}

// Permutes a row's 64 bytes of a block as PackedWeights draws it. Stored bytes
// 4 i .. 4 i + 3 (i = 4 l + g) come from two neighbouring pairs of bytes.
void PermuteBlock(const uint8_t* row, uint8_t* packed) {
  for (int l = 0; l < 4; ++l) {
    for (int g = 0; g < 4; ++g) {
      const uint8_t* const low = row + 16 * g + 2 * l;
      uint8_t* const out = packed + 16 * l + 4 * g;
      out[0] = low[8];
      out[1] = low[0];
      out[2] = low[9];
      out[3] = low[1];
    }
  }
}

// `row` has k / 8 bytes; columns from k to the end of the last chunk stay 0.
void PackPlaneRow(const PackedWeights& shape, const uint32_t* row,
                  PackedRow out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(row);
  size_t left = static_cast<size_t>(shape.k) / 8;
  for (int block = 0; block < shape.blocks; ++block) {
    uint8_t padded[kRowBytesPerBlock] = {};
    const size_t size = std::min(left, sizeof(padded));
    std::memcpy(padded, bytes, size);
    PermuteBlock(padded, out.block + block * kTileRows * kRowBytesPerBlock);
    bytes += size;
    left -= size;
  }
  for (int chunk = 0; chunk < shape.tail_chunks; ++chunk) {
    const size_t size = std::min<size_t>(left, kRowBytesPerChunk);
    std::memcpy(out.tail + chunk * kTileRows * kRowBytesPerChunk, bytes, size);
    bytes += size;
    left -= size;
  }
}

// Writes a row's 2^precision 16-bit values in the order of PackedWeights.
void StoreTable(std::span<const uint16_t> values, int precision,
                uint8_t* table) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (precision <= 5) {
      std::memcpy(table + 2 * i, &values[i], sizeof(uint16_t));
    } else {
      table[i] = static_cast<uint8_t>(values[i]);
      table[values.size() + i] = static_cast<uint8_t>(values[i] >> 8);
    }
  }
}

float LargestMagnitude(std::span<const Float16> values) {
  float largest = 0.0f;
  for (const Float16 value : values) {
    largest = std::max(largest, std::abs(ToFloat(value)));
  }
  return largest;
}

// The sum of squares of what rounding to multiples of `scale` takes.
float RoundingError(std::span<const Float16> values, float scale) {
  float error = 0.0f;
  for (const Float16 value : values) {
    const float quotient = ToFloat(value) / scale;
    const float difference = scale * (quotient - std::nearbyint(quotient));
    error += difference * difference;
  }
  return error;
}

// Of what centroids are multiples. 127 steps are few: some number of steps
// below that often meets the 8 to 32 values better.
float ByteScale(std::span<const Float16> centroids, float largest) {
  constexpr int kLeastSteps = 96;
  float best = largest / kMaxByteCentroid;
  float best_error = RoundingError(centroids, best);
  for (int steps = kLeastSteps; steps < kMaxByteCentroid; ++steps) {
    const float scale = largest / static_cast<float>(steps);
    const float error = RoundingError(centroids, scale);
    if (error >= best_error) continue;
    best = scale;
    best_error = error;
  }
  return best;
}

// Rounds centroids to int16 multiples of the scale that it returns.
float QuantizeCentroids(std::span<const Float16> centroids, int precision,
                        std::span<uint16_t> values) {
  const float largest = LargestMagnitude(centroids);
  if (largest == 0.0f) {
    std::fill(values.begin(), values.end(), 0);
    return 0.0f;
  }
  const float scale = precision <= kByteTableBits
                          ? ByteScale(centroids, largest)
                          : largest / kMaxCentroid;
  for (size_t i = 0; i < centroids.size(); ++i) {
    values[i] = static_cast<uint16_t>(
        static_cast<int16_t>(std::lrint(ToFloat(centroids[i]) / scale)));
  }
  return scale;
}

#if defined(__x86_64__)

BitPlaneKernels KernelsFor(Isa isa, bool amx) {
  if (isa == Isa::kPortable) return PortableBitPlaneKernels();
  if (isa == Isa::kAvx2) return Avx2BitPlaneKernels();
  BitPlaneKernels kernels = {
      .decode_int16 = Avx512Int16Decode(),
      .decode_float32 = Avx512Float32Decode(),
      .prefill_int16 = Avx512IntegerPrefill(),
      .prefill_float32 = Avx512Float32Prefill(),
  };
  if (amx) {
    kernels.decode_int16 = AmxInt8Decode();
    kernels.prefill_int16 = AmxPrefill();
  }
  return kernels;
}

#else

BitPlaneKernels KernelsFor(Isa, bool) { return PortableBitPlaneKernels(); }

#endif

}  // namespace

absl::StatusOr<std::unique_ptr<BitPlaneLinear>> BitPlaneLinear::Create(
    std::span<const QuantizedLinear> parts, ComputeMode mode, Isa isa,
    bool amx) {
  RETURN_IF_ERROR(ValidateBitPlanes(parts));
  ANYPREC_CHECK(!parts[0].codebooks.empty()) << "a layer with scales";
  int n = 0;
  for (const QuantizedLinear& part : parts) n += part.matrix.n;
  std::unique_ptr<BitPlaneLinear> linear(
      new BitPlaneLinear(n, parts[0].matrix.k, mode, KernelsFor(isa, amx)));
  RETURN_IF_ERROR(linear->PackPlanes(parts));
  const int codebooks = static_cast<int>(parts[0].codebooks.size());
  for (int i = 0; i < codebooks; ++i) {
    RETURN_IF_ERROR(linear->PackTables(parts, i));
  }
  return linear;
}

absl::Status BitPlaneLinear::PackPlanes(
    std::span<const QuantizedLinear> parts) {
  // Planes beyond the highest codebook are of no use.
  const size_t count = parts[0].codebooks.back().precision;
  const PackedWeights shape = Shape();
  const size_t bytes = static_cast<size_t>(shape.tiles) * shape.chunks *
                       kTileRows * kRowBytesPerChunk;
  for (size_t plane = 0; plane < count; ++plane) {
    ASSIGN_OR_RETURN(HugePageBuffer buffer, HugePageBuffer::Create(bytes));
    int row = 0;
    for (const QuantizedLinear& part : parts) {
      const uint32_t* words = part.matrix.planes[plane];
      for (int i = 0; i < part.matrix.n; ++i, ++row) {
        PackPlaneRow(shape, words + i * part.matrix.words_per_row(),
                     LocateRow(shape, buffer.as<uint8_t>(), row));
      }
    }
    planes_.push_back(std::move(buffer));
  }
  return absl::OkStatus();
}

absl::Status BitPlaneLinear::PackTables(std::span<const QuantizedLinear> parts,
                                        int codebook) {
  const int precision = parts[0].codebooks[codebook].precision;
  const size_t rows = static_cast<size_t>(Shape().tiles) * kTileRows;
  const size_t centroids = size_t{1} << precision;
  Tables& tables = tables_[precision];
  ASSIGN_OR_RETURN(tables.data, HugePageBuffer::Create(rows * centroids * 2));
  ASSIGN_OR_RETURN(tables.row_scales,
                   HugePageBuffer::Create(rows * sizeof(float)));
  std::vector<uint16_t> values(centroids);
  size_t row = 0;
  for (const QuantizedLinear& part : parts) {
    const std::span<const Float16> data = part.codebooks[codebook].data;
    for (int i = 0; i < part.matrix.n; ++i, ++row) {
      const auto source = data.subspan(i * centroids, centroids);
      float scale = 1.0f;
      if (mode_ == ComputeMode::kInt16) {
        scale = QuantizeCentroids(source, precision, values);
      } else {
        for (size_t c = 0; c < centroids; ++c) values[c] = source[c].bits;
      }
      StoreTable(values, precision,
                 tables.data.as<uint8_t>() + row * centroids * 2);
      tables.row_scales.as<float>()[row] = scale;
    }
  }
  return absl::OkStatus();
}

PackedWeights BitPlaneLinear::Shape() const {
  PackedWeights shape = {};
  shape.n = n_;
  shape.k = k_;
  shape.tiles = DivideRoundingUp(n_, kTileRows);
  shape.chunks = DivideRoundingUp(k_, kChunkColumns);
  shape.blocks = shape.chunks / kBlockChunks;
  shape.tail_chunks = shape.chunks % kBlockChunks;
  shape.scale_blocks = std::max(shape.blocks, 1);
  return shape;
}

PackedWeights BitPlaneLinear::View(int precision) const {
  PackedWeights view = Shape();
  view.precision = precision;
  for (int plane = 0; plane < precision; ++plane) {
    view.planes[plane] = planes_[plane].as<uint8_t>();
  }
  view.tables = tables_[precision].data.as<uint8_t>();
  view.row_scales = tables_[precision].row_scales.as<float>();
  return view;
}

const BitPlaneProduct& BitPlaneLinear::Product(Phase phase) const {
  if (mode_ == ComputeMode::kInt16) {
    return phase == Phase::kDecode ? kernels_.decode_int16
                                   : kernels_.prefill_int16;
  }
  return phase == Phase::kDecode ? kernels_.decode_float32
                                 : kernels_.prefill_float32;
}

bool BitPlaneLinear::HasPrecision(int precision) const {
  return precision >= kMinBits && precision <= kMaxBits &&
         tables_[precision].data.size() > 0;
}

size_t BitPlaneLinear::BytesRead(int precision) const {
  ANYPREC_CHECK(HasPrecision(precision)) << precision << " bits not loaded";
  const PackedWeights shape = Shape();
  const size_t rows = static_cast<size_t>(shape.tiles) * kTileRows;
  const size_t plane_bytes = rows * shape.chunks * kRowBytesPerChunk;
  return precision * plane_bytes +
         rows * ((size_t{2} << precision) + sizeof(float));
}

size_t BitPlaneLinear::BytesResident() const {
  size_t bytes = 0;
  for (const HugePageBuffer& plane : planes_) bytes += plane.size();
  for (const Tables& tables : tables_) {
    bytes += tables.data.size() + tables.row_scales.size();
  }
  return bytes;
}

absl::Status BitPlaneLinear::MatMul(ThreadPool& pool,
                                    std::span<const RowGroup> groups,
                                    const float* x, float* y, bool accumulate,
                                    MatMulScratch& scratch) const {
  for (const RowGroup& group : groups) {
    if (group.begin == group.end) continue;
    ANYPREC_CHECK(HasPrecision(group.precision))
        << group.precision << " bits not loaded";
    const BitPlaneProduct& product = Product(group.phase);
    BitPlaneJob job = {
        .weights = View(group.precision),
        .x = x + static_cast<size_t>(group.begin) * k_,
        .y = y + static_cast<size_t>(group.begin) * n_,
        .rows = group.end - group.begin,
        .accumulate = accumulate,
        .packed_x = nullptr,
    };
    ASSIGN_OR_RETURN(job.packed_x, scratch.Reserve(product.packed_bytes(job)));
    // Packing few rows takes less time than waking a thread.
    if (job.rows <= kPackRows) {
      product.pack(job, 0, job.rows);
    } else {
      pool.ParallelFor(job.rows, kPackRows, [&](size_t begin, size_t end) {
        product.pack(job, static_cast<int>(begin), static_cast<int>(end));
      });
    }
    pool.ParallelFor(job.weights.tiles, 1, [&](size_t begin, size_t end) {
      product.multiply(job, static_cast<int>(begin), static_cast<int>(end));
    });
  }
  return absl::OkStatus();
}

}  // namespace anyprec
