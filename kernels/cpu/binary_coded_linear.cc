#include "kernels/cpu/binary_coded_linear.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels/check.h"
#include "kernels/cpu/row_blocks.h"
#include "kernels/status_macros.h"
#include "kernels/types.h"
#include "kernels/validation.h"

namespace anyprec {
namespace {

// Tables of this many rows of x, of some thousand columns, take 20
// microseconds: with fewer, waking threads costs more.
constexpr int kRowsWorthAThread = 4;

// Prefill decodes this many columns of a tile at a time, 32 KiB of fp32. As
// many columns of a block of rows, of which there are at most 14, take 28 KiB:
// they stay in the first-level cache while the tiles pass.
constexpr int kDecodedColumns = 512;

// Tiles decoded at a time: 256 KiB, as many as dense layers hold for the same
// reason (dense_linear.cc). All rows pass before the next ones are.
constexpr int kDecodedTiles = 8;

struct alignas(64) DecodedTiles {
  float panels[kDecodedTiles][kDecodedColumns * kPanelRows];
};

// Outlives a call, so that no call allocates.
DecodedTiles& ThreadScratch() {
  thread_local const auto scratch = std::make_unique<DecodedTiles>();
  return *scratch;
}

size_t RoundUp(size_t a, size_t b) { return (a + b - 1) / b * b; }

}  // namespace

// Rows of x, each block of them as [k, rows in the block].
struct BinaryCodedLinear::PackedRows {
  const float* data;
  RowBlocks blocks;
};

absl::StatusOr<std::unique_ptr<BinaryCodedLinear>> BinaryCodedLinear::Create(
    std::span<const QuantizedLinear> parts, Isa isa) {
  RETURN_IF_ERROR(ValidateBitPlanes(parts));
  ANYPREC_CHECK(!parts[0].scales.empty()) << "a layer with codebooks";
  int n = 0;
  for (const QuantizedLinear& part : parts) n += part.matrix.n;
  std::unique_ptr<BinaryCodedLinear> linear(new BinaryCodedLinear(
      n, parts[0].matrix.k, parts[0].scales[0].group_size, KernelsFor(isa)));
  RETURN_IF_ERROR(linear->PackPlanes(parts));
  for (size_t i = 0; i < parts[0].scales.size(); ++i) {
    RETURN_IF_ERROR(linear->PackScales(parts, static_cast<int>(i)));
  }
  return linear;
}

absl::Status BinaryCodedLinear::PackPlanes(
    std::span<const QuantizedLinear> parts) {
  // Planes beyond the highest precision are of no use.
  const int count = parts[0].max_precision();
  const size_t words = k_ / 32;
  for (int plane = 0; plane < count; ++plane) {
    ASSIGN_OR_RETURN(HugePageBuffer buffer,
                     HugePageBuffer::Create(tiles() * words * kPanelRows *
                                            sizeof(uint32_t)));
    size_t row = 0;
    for (const QuantizedLinear& part : parts) {
      const uint32_t* source = part.matrix.planes[plane];
      for (int i = 0; i < part.matrix.n; ++i, ++row) {
        uint32_t* out = buffer.as<uint32_t>() +
                        row / kPanelRows * words * kPanelRows +
                        row % kPanelRows;
        for (size_t word = 0; word < words; ++word) {
          out[word * kPanelRows] = *source++;
        }
      }
    }
    planes_.push_back(std::move(buffer));
  }
  return absl::OkStatus();
}

absl::Status BinaryCodedLinear::PackScales(
    std::span<const QuantizedLinear> parts, int index) {
  const int precision = parts[0].scales[index].precision;
  const size_t tile_values =
      static_cast<size_t>(groups()) * (1 + precision) * kPanelRows;
  HugePageBuffer& buffer = scales_[precision];
  ASSIGN_OR_RETURN(
      buffer, HugePageBuffer::Create(tiles() * tile_values * sizeof(Float16)));
  size_t row = 0;
  for (const QuantizedLinear& part : parts) {
    const Float16* beta = part.scales[index].beta.data();
    const Float16* alpha = part.scales[index].alpha.data();
    for (int i = 0; i < part.matrix.n; ++i, ++row) {
      Float16* out = buffer.as<Float16>() + row / kPanelRows * tile_values +
                     row % kPanelRows;
      for (int group = 0; group < groups(); ++group) {
        *out = *beta++;
        out += kPanelRows;
        for (int p = 0; p < precision; ++p, out += kPanelRows) *out = *alpha++;
      }
    }
  }
  return absl::OkStatus();
}

BinaryCodedTile BinaryCodedLinear::Tile(int precision, size_t tile) const {
  BinaryCodedTile view = {};
  view.precision = precision;
  view.k = k_;
  view.group_size = group_size_;
  const size_t words = static_cast<size_t>(k_) / 32 * kPanelRows;
  for (int plane = 0; plane < precision; ++plane) {
    view.planes[plane] = planes_[plane].as<uint32_t>() + tile * words;
  }
  const size_t values =
      static_cast<size_t>(groups()) * (1 + precision) * kPanelRows;
  view.scales = scales_[precision].as<uint16_t>() + tile * values;
  return view;
}

bool BinaryCodedLinear::HasPrecision(int precision) const {
  return precision >= kMinBits && precision <= kMaxBits &&
         scales_[precision].size() > 0;
}

size_t BinaryCodedLinear::BytesRead(int precision) const {
  ANYPREC_CHECK(HasPrecision(precision)) << precision << " bits not loaded";
  return precision * planes_[0].size() + scales_[precision].size();
}

size_t BinaryCodedLinear::BytesResident() const {
  size_t bytes = 0;
  for (const HugePageBuffer& plane : planes_) bytes += plane.size();
  for (const HugePageBuffer& scales : scales_) bytes += scales.size();
  return bytes;
}

absl::Status BinaryCodedLinear::MatMul(ThreadPool& pool,
                                       std::span<const RowGroup> groups,
                                       const float* x, float* y,
                                       bool accumulate,
                                       MatMulScratch& scratch) const {
  for (const RowGroup& group : groups) {
    if (group.begin == group.end) continue;
    ANYPREC_CHECK(HasPrecision(group.precision))
        << group.precision << " bits not loaded";
    const float* first_x = x + static_cast<size_t>(group.begin) * k_;
    float* first_y = y + static_cast<size_t>(group.begin) * n_;
    RETURN_IF_ERROR(group.phase == Phase::kDecode
                        ? MultiplyByTables(pool, group, first_x, first_y,
                                           accumulate, scratch)
                        : MultiplyDecoded(pool, group, first_x, first_y,
                                          accumulate, scratch));
  }
  return absl::OkStatus();
}

absl::Status BinaryCodedLinear::MultiplyByTables(ThreadPool& pool,
                                                 const RowGroup& group,
                                                 const float* x, float* y,
                                                 bool accumulate,
                                                 MatMulScratch& scratch) const {
  const size_t rows = group.end - group.begin;
  const size_t table_floats =
      static_cast<size_t>(k_) / 32 * kernels_.table_floats;
  // Each row's tables and sums, from a cache line on.
  const size_t stride = RoundUp(table_floats + groups(), 16);
  ASSIGN_OR_RETURN(uint8_t* const memory,
                   scratch.Reserve(rows * stride * sizeof(float)));
  auto* const tables = reinterpret_cast<float*>(memory);
  const auto build = [&](size_t begin, size_t end) {
    for (size_t row = begin; row < end; ++row) {
      float* const own = tables + row * stride;
      kernels_.build_tables(x + row * k_, k_, group_size_, own,
                            own + table_floats);
    }
  };
  if (rows <= kRowsWorthAThread) {
    build(0, rows);
  } else {
    pool.ParallelFor(rows, kRowsWorthAThread, build);
  }
  pool.ParallelFor(tiles(), 1, [&](size_t begin, size_t end) {
    for (size_t tile = begin; tile < end; ++tile) {
      const BinaryCodedTile view = Tile(group.precision, tile);
      const size_t column = tile * kPanelRows;
      const int columns =
          static_cast<int>(std::min<size_t>(kPanelRows, n_ - column));
      for (size_t row = 0; row < rows; ++row) {
        const float* const own = tables + row * stride;
        float out[kPanelRows];
        kernels_.multiply_by_tables(view, own, own + table_floats, out);
        kernels_.store(out, nullptr, columns, accumulate,
                       y + row * n_ + column);
      }
    }
  });
  return absl::OkStatus();
}

absl::Status BinaryCodedLinear::MultiplyDecoded(ThreadPool& pool,
                                                const RowGroup& group,
                                                const float* x, float* y,
                                                bool accumulate,
                                                MatMulScratch& scratch) const {
  const int rows = group.end - group.begin;
  ASSIGN_OR_RETURN(
      uint8_t* const memory,
      scratch.Reserve(static_cast<size_t>(rows) * k_ * sizeof(float)));
  auto* const data = reinterpret_cast<float*>(memory);
  const PackedRows packed = {data, RowBlocks(rows, kernels_.max_rows)};
  pool.ParallelFor(packed.blocks.count(), 1, [&](size_t begin, size_t end) {
    for (size_t block = begin; block < end; ++block) {
      const size_t first = packed.blocks.begin(static_cast<int>(block));
      const size_t size = packed.blocks.size(static_cast<int>(block));
      for (size_t i = 0; i < size; ++i) {
        const float* const row = x + (first + i) * k_;
        float* const out = data + first * k_ + i;
        for (int c = 0; c < k_; ++c) out[c * size] = row[c];
      }
    }
  });
  pool.ParallelFor(tiles(), 2, [&](size_t begin, size_t end) {
    for (; begin < end; begin += kDecodedTiles) {
      MultiplyTiles(packed, group.precision, begin,
                    std::min<size_t>(begin + kDecodedTiles, end), y,
                    accumulate);
    }
  });
  return absl::OkStatus();
}

void BinaryCodedLinear::MultiplyTiles(const PackedRows& packed, int precision,
                                      size_t first, size_t last, float* y,
                                      bool accumulate) const {
  constexpr int kMostValues = 32 * kPanelRows;
  float out[kMostValues];
  const void* panels[kDecodedTiles];
  const int tiles = static_cast<int>(last - first);
  for (int column = 0; column < k_; column += kDecodedColumns) {
    const int columns = std::min(kDecodedColumns, k_ - column);
    for (int i = 0; i < tiles; ++i) {
      float* const panel = ThreadScratch().panels[i];
      kernels_.decode_binary_coded(Tile(precision, first + i), column,
                                   column + columns, panel);
      panels[i] = panel;
    }
    for (int block = 0; block < packed.blocks.count(); ++block) {
      const size_t begin = packed.blocks.begin(block);
      const int rows = packed.blocks.size(block);
      const float* const x =
          packed.data + begin * k_ + static_cast<size_t>(column) * rows;
      const int most = kernels_.panels_for_rows(rows);
      for (int i = 0, count = 0; i < tiles; i += count) {
        count = most;
        while (count > tiles - i) count /= 2;
        const int stride = count * kPanelRows;
        ANYPREC_CHECK(rows * stride <= kMostValues);
        kernels_.multiply(PanelType::kFloat32, rows, count, x, panels + i,
                          columns, out, stride);
        const size_t output = (first + i) * kPanelRows;
        for (int row = 0; row < rows; ++row) {
          kernels_.store(
              out + row * stride, nullptr,
              static_cast<int>(std::min<size_t>(stride, n_ - output)),
              accumulate || column > 0, y + (begin + row) * n_ + output);
        }
      }
    }
  }
}

}  // namespace anyprec
