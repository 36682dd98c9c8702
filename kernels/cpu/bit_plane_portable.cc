// Bit-plane products in plain C++: decode a row of weights, then take its dot
// product with every row of x. The compiler vectorizes the dot products for
// the machine that it may assume.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/bit_plane_kernels.h"
#include "kernels/types.h"

namespace anyprec {
namespace {

// Columns [first, last) of scale block `block`.
struct ColumnRange {
  int first;
  int last;
};

ColumnRange ScaleBlockColumns(const PackedWeights& weights, int block) {
  const bool last = block == weights.scale_blocks - 1;
  return {block * kBlockColumns,
          last ? weights.k : (block + 1) * kBlockColumns};
}

// Transposes 8 x 8 bits: bit i of byte j becomes bit j of byte i.
uint64_t TransposeBits(uint64_t x) {
  uint64_t t = (x ^ (x >> 7)) & 0x00aa00aa00aa00aaull;
  x ^= t ^ (t << 7);
  t = (x ^ (x >> 14)) & 0x0000cccc0000ccccull;
  x ^= t ^ (t << 14);
  t = (x ^ (x >> 28)) & 0x00000000f0f0f0f0ull;
  return x ^ t ^ (t << 28);
}

// Where byte c of a row's 64 stands in a packed block (PackedWeights).
int PackedByte(int c) {
  const int g = c / 16;
  const int h = 1 - c / 8 % 2;
  const int l = c / 2 % 4;
  const int e = c % 2;
  return 16 * l + 4 * g + 2 * e + h;
}

// Codebook indices of 8 columns, one a byte; `offset` points at their byte in
// every plane.
uint64_t EightIndices(const PackedWeights& weights, size_t offset) {
  uint64_t bits = 0;
  for (int plane = 0; plane < weights.precision; ++plane) {
    bits = bits << 8 | weights.planes[plane][offset];
  }
  return TransposeBits(bits);
}

// indices [64 chunks]: the codebook indices of row `lane` of `tile`.
void DecodeIndices(const PackedWeights& weights, int tile, int lane,
                   uint8_t* indices) {
  size_t offset = static_cast<size_t>(tile) * weights.chunks * kTileRows * 8;
  for (int block = 0; block < weights.blocks; ++block) {
    for (int byte = 0; byte < 64; ++byte) {
      const uint64_t eight =
          EightIndices(weights, offset + lane * 64 + PackedByte(byte));
      std::memcpy(indices, &eight, 8);
      indices += 8;
    }
    offset += kTileRows * 64;
  }
  for (int chunk = 0; chunk < weights.tail_chunks; ++chunk) {
    for (int byte = 0; byte < 8; ++byte) {
      const uint64_t eight = EightIndices(weights, offset + lane * 8 + byte);
      std::memcpy(indices, &eight, 8);
      indices += 8;
    }
    offset += kTileRows * 8;
  }
}

// Reads row `row`'s table of 16-bit values.
void LoadTable(const PackedWeights& weights, int row, uint16_t* values) {
  const int size = 1 << weights.precision;
  const uint8_t* table = weights.tables + static_cast<size_t>(row) * size * 2;
  for (int i = 0; i < size; ++i) {
    if (weights.precision <= 5) {
      std::memcpy(&values[i], table + 2 * i, sizeof(uint16_t));
    } else {
      values[i] = static_cast<uint16_t>(table[i] | table[size + i] << 8);
    }
  }
}

// Decodes the rows of tiles in turn.
class RowDecoder {
 public:
  explicit RowDecoder(const PackedWeights& weights)
      : weights_(weights),
        indices_(static_cast<size_t>(weights.chunks) * kChunkColumns) {}

  void DecodeInt16(int row, int16_t* out) {
    Decode(row);
    for (int i = 0; i < weights_.k; ++i) {
      out[i] = static_cast<int16_t>(values_[indices_[i]]);
    }
  }

  void DecodeFloat16(int row, float* out) {
    Decode(row);
    float centroids[256];
    for (int i = 0; i < 1 << weights_.precision; ++i) {
      centroids[i] = ToFloat(Float16{values_[i]});
    }
    for (int i = 0; i < weights_.k; ++i) out[i] = centroids[indices_[i]];
  }

 private:
  void Decode(int row) {
    DecodeIndices(weights_, row / kTileRows, row % kTileRows, indices_.data());
    LoadTable(weights_, row, values_);
  }

  const PackedWeights& weights_;
  std::vector<uint8_t> indices_;
  uint16_t values_[256];
};

void StoreResult(const BitPlaneJob& job, int m, int row, float value) {
  float& y = job.y[static_cast<size_t>(m) * job.weights.n + row];
  y = job.accumulate ? y + value : value;
}

// int16: packed x is [rows, k] int16, then [rows, scale_blocks] fp32 scales.

size_t Int16Bytes(const BitPlaneJob& job) {
  return static_cast<size_t>(job.rows) *
         (sizeof(int16_t) * job.weights.k +
          sizeof(float) * job.weights.scale_blocks);
}

int16_t* Int16Row(const BitPlaneJob& job, int m) {
  return reinterpret_cast<int16_t*>(job.packed_x) +
         static_cast<size_t>(m) * job.weights.k;
}

float* Int16Scales(const BitPlaneJob& job, int m) {
  return reinterpret_cast<float*>(Int16Row(job, job.rows)) +
         static_cast<size_t>(m) * job.weights.scale_blocks;
}

float BlockScale(const float* x, ColumnRange columns) {
  float sum = 0.0f;
  float largest = 0.0f;
  for (int i = columns.first; i < columns.last; ++i) {
    const float magnitude = std::abs(x[i]);
    sum += magnitude;
    largest = magnitude > largest ? magnitude : largest;
  }
  // A NaN fails the comparisons and stays.
  float scale = sum / kMaxMagnitudeSum;
  if (largest / kMaxInt16 > scale) scale = largest / kMaxInt16;
  return scale < kMinScale ? 0.0f : scale;
}

void PackInt16(const BitPlaneJob& job, int begin, int end) {
  for (int m = begin; m < end; ++m) {
    const float* x = job.x + static_cast<size_t>(m) * job.weights.k;
    int16_t* const out = Int16Row(job, m);
    for (int block = 0; block < job.weights.scale_blocks; ++block) {
      const ColumnRange columns = ScaleBlockColumns(job.weights, block);
      const float scale = BlockScale(x, columns);
      Int16Scales(job, m)[block] = scale;
      // Whatever the integers are, a scale that is not finite makes y so.
      const bool usable = scale > 0.0f && std::isfinite(scale);
      const float inverse = usable ? 1.0f / scale : 0.0f;
      for (int i = columns.first; i < columns.last; ++i) {
        out[i] = usable ? static_cast<int16_t>(std::lrint(x[i] * inverse)) : 0;
      }
    }
  }
}

void MultiplyInt16(const BitPlaneJob& job, int first_tile, int last_tile) {
  const PackedWeights& weights = job.weights;
  RowDecoder decoder(weights);
  std::vector<int16_t> w(weights.k);
  const int last_row = std::min(last_tile * kTileRows, weights.n);
  for (int row = first_tile * kTileRows; row < last_row; ++row) {
    decoder.DecodeInt16(row, w.data());
    for (int m = 0; m < job.rows; ++m) {
      const int16_t* const x = Int16Row(job, m);
      float total = 0.0f;
      for (int block = 0; block < weights.scale_blocks; ++block) {
        const ColumnRange columns = ScaleBlockColumns(weights, block);
        int32_t sum = 0;
        for (int i = columns.first; i < columns.last; ++i) sum += w[i] * x[i];
        total += static_cast<float>(sum) * Int16Scales(job, m)[block];
      }
      StoreResult(job, m, row, total * weights.row_scales[row]);
    }
  }
}

// fp32: x is used as it is.

size_t NoBytes(const BitPlaneJob&) { return 0; }
void PackNothing(const BitPlaneJob&, int, int) {}

// Sixteen partial sums: they let the compiler use vectors without reordering.
float DotProduct(const float* a, const float* b, int n) {
  float sums[16] = {};
  for (int i = 0; i < n; i += 16) {
    for (int lane = 0; lane < 16; ++lane) {
      sums[lane] += a[i + lane] * b[i + lane];
    }
  }
  for (int width = 8; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}

void MultiplyFloat32(const BitPlaneJob& job, int first_tile, int last_tile) {
  const PackedWeights& weights = job.weights;
  RowDecoder decoder(weights);
  std::vector<float> w(weights.k);
  const int last_row = std::min(last_tile * kTileRows, weights.n);
  for (int row = first_tile * kTileRows; row < last_row; ++row) {
    decoder.DecodeFloat16(row, w.data());
    for (int m = 0; m < job.rows; ++m) {
      const float* const x = job.x + static_cast<size_t>(m) * weights.k;
      StoreResult(job, m, row,
                  DotProduct(w.data(), x, weights.k) * weights.row_scales[row]);
    }
  }
}

}  // namespace

BitPlaneKernels PortableBitPlaneKernels() {
  static_assert(std::endian::native == std::endian::little);
  const BitPlaneProduct int16 = {Int16Bytes, PackInt16, MultiplyInt16};
  const BitPlaneProduct float32 = {NoBytes, PackNothing, MultiplyFloat32};
  return {
      .decode_int16 = int16,
      .decode_float32 = float32,
      .prefill_int16 = int16,
      .prefill_float32 = float32,
  };
}

}  // namespace anyprec
