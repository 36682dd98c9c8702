#include "kernels/cpu/dense_linear.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/check.h"
#include "kernels/cpu/row_blocks.h"
#include "kernels/status_macros.h"
#include "kernels/types.h"
#include "kernels/validation.h"

namespace anyprec {
namespace {

PanelType TypeOfPanels(DenseMatrix::Type type) {
  switch (type) {
    case DenseMatrix::Type::kFloat32:
      return PanelType::kFloat32;
    case DenseMatrix::Type::kFloat16:
      return PanelType::kFloat16;
    case DenseMatrix::Type::kBFloat16:
      return PanelType::kBFloat16;
    case DenseMatrix::Type::kInt8:
      return PanelType::kInt8;
  }
  ANYPREC_CHECK(false) << "unknown type";
  return PanelType::kFloat32;
}

size_t ElementBytes(PanelType type) {
  switch (type) {
    case PanelType::kFloat32:
      return 4;
    case PanelType::kFloat16:
    case PanelType::kBFloat16:
      return 2;
    case PanelType::kInt8:
      return 1;
  }
  ANYPREC_CHECK(false) << "unknown type";
  return 0;
}

// Where W[lane, column] stands in its panel, in elements.
size_t IndexInPanel(PanelType type, int lane, int column) {
  const bool pairs = type == PanelType::kBFloat16 || type == PanelType::kInt8;
  if (!pairs) return static_cast<size_t>(column) * kPanelRows + lane;
  return (static_cast<size_t>(column / 2) * kPanelRows + lane) * 2 + column % 2;
}

// Copies row [k] to its lane of a panel.
template <typename T>
void ScatterRow(PanelType type, const T* row, int k, int lane, T* panel) {
  for (int column = 0; column < k; ++column) {
    panel[IndexInPanel(type, lane, column)] = row[column];
  }
}

size_t RoundUp(size_t a, size_t b) { return (a + b - 1) / b * b; }

// Panels are decoded to fp32 once for this many blocks of rows and more. With
// fewer, decoding them in the product is cheaper than writing and reading fp32.
constexpr int kBlocksWorthUnpacking = 3;

// A quarter of the second-level cache of the smallest machine in mind (1 MiB);
// the rows, which stream through, and other threads want the rest.
constexpr size_t kCachedBytes = size_t{256} << 10;
constexpr size_t kMaxGroup = 32;

// Values for each thread that outlive a call, so that no call allocates.
float* ThreadScratch(size_t floats) {
  thread_local std::vector<float> scratch;
  if (scratch.size() < floats) scratch.resize(floats);
  return scratch.data();
}

}  // namespace

struct DenseLinear::PackedRows {
  std::vector<int> rows;  // indices into x and y
  RowBlocks blocks;       // of `rows`
  bool as_int16 = false;
  // Each block at blocks.begin(i) * columns, and at that times segments.
  const float* floats = nullptr;
  const int32_t* pairs = nullptr;
  const float* scales = nullptr;
  int segments = 0;
};

DenseLinear::DenseLinear(PanelType type, int n, int k, ComputeMode mode,
                         const CpuKernels& kernels)
    : type_(type),
      n_(n),
      k_(k),
      padded_k_(static_cast<int>(RoundUp(k, 2))),
      mode_(mode),
      kernels_(kernels) {}

absl::StatusOr<std::unique_ptr<DenseLinear>> DenseLinear::Create(
    std::span<const DenseMatrix> parts, ComputeMode mode, Isa isa,
    ThreadPool& pool) {
  RETURN_IF_ERROR(ValidateDense(parts));
  int n = 0;
  for (const DenseMatrix& part : parts) n += part.n;
  std::unique_ptr<DenseLinear> layer(new DenseLinear(
      TypeOfPanels(parts[0].type), n, parts[0].k, mode, KernelsFor(isa)));
  ASSIGN_OR_RETURN(
      layer->weights_,
      HugePageBuffer::Create(layer->panels() * layer->panel_bytes()));
  int first_row = 0;
  for (const DenseMatrix& part : parts) {
    layer->PackPart(part, first_row, pool);
    layer->row_scales_.insert(layer->row_scales_.end(), part.row_scales.begin(),
                              part.row_scales.end());
    first_row += part.n;
  }
  if (layer->type_ == PanelType::kInt8) {
    layer->row_scales_.resize(layer->panels() * kPanelRows);
  } else {
    layer->row_scales_.clear();
  }
  return layer;
}

size_t DenseLinear::panel_bytes() const {
  return ElementBytes(type_) * kPanelRows * padded_k_;
}

size_t DenseLinear::BytesRead(int /*precision*/) const {
  return BytesResident();
}

size_t DenseLinear::BytesResident() const {
  return weights_.size() + row_scales_.size() * sizeof(float);
}

void DenseLinear::PackPart(const DenseMatrix& part, int first_row,
                           ThreadPool& pool) {
  const size_t bytes = ElementBytes(type_);
  // Whole panels: two threads must not write lanes of one cache line.
  const size_t first_panel = first_row / kPanelRows;
  const size_t last_row = first_row + part.n;
  const size_t panel_count =
      RoundUp(last_row, kPanelRows) / kPanelRows - first_panel;
  pool.ParallelFor(panel_count, 1, [&](size_t begin, size_t end) {
    const size_t from =
        std::max<size_t>((first_panel + begin) * kPanelRows, first_row);
    const size_t to = std::min((first_panel + end) * kPanelRows, last_row);
    for (size_t row = from; row < to; ++row) {
      const auto* source = static_cast<const uint8_t*>(part.data) +
                           (row - first_row) * k_ * bytes;
      uint8_t* panel =
          weights_.as<uint8_t>() + row / kPanelRows * panel_bytes();
      const int lane = static_cast<int>(row % kPanelRows);
      if (bytes == 4) {
        ScatterRow(type_, reinterpret_cast<const uint32_t*>(source), k_, lane,
                   reinterpret_cast<uint32_t*>(panel));
      } else if (bytes == 2) {
        ScatterRow(type_, reinterpret_cast<const uint16_t*>(source), k_, lane,
                   reinterpret_cast<uint16_t*>(panel));
      } else {
        ScatterRow(type_, source, k_, lane, panel);
      }
    }
  });
}

void DenseLinear::CopyRow(int row, float* out) const {
  const uint8_t* data = panel(row / kPanelRows);
  const int lane = row % kPanelRows;
  for (int column = 0; column < k_; ++column) {
    const size_t i = IndexInPanel(type_, lane, column);
    switch (type_) {
      case PanelType::kFloat32:
        out[column] = reinterpret_cast<const float*>(data)[i];
        break;
      case PanelType::kFloat16:
        out[column] = ToFloat(reinterpret_cast<const Float16*>(data)[i]);
        break;
      case PanelType::kBFloat16:
        out[column] = ToFloat(reinterpret_cast<const BFloat16*>(data)[i]);
        break;
      case PanelType::kInt8:
        out[column] =
            reinterpret_cast<const int8_t*>(data)[i] * row_scales_[row];
        break;
    }
  }
}

absl::Status DenseLinear::MatMul(ThreadPool& pool,
                                 std::span<const RowGroup> groups,
                                 const float* x, float* y, bool accumulate,
                                 MatMulScratch& scratch) const {
  std::vector<int> int16_rows;
  std::vector<int> float_rows;
  for (const RowGroup& group : groups) {
    const bool as_int16 = type_ == PanelType::kInt8 &&
                          mode_ == ComputeMode::kInt16 &&
                          group.phase == Phase::kDecode;
    std::vector<int>& rows = as_int16 ? int16_rows : float_rows;
    for (int row = group.begin; row < group.end; ++row) rows.push_back(row);
  }
  RETURN_IF_ERROR(Multiply(pool, std::move(int16_rows), x, /*as_int16=*/true, y,
                           accumulate, scratch));
  return Multiply(pool, std::move(float_rows), x, /*as_int16=*/false, y,
                  accumulate, scratch);
}

absl::Status DenseLinear::Multiply(ThreadPool& pool, std::vector<int> rows,
                                   const float* x, bool as_int16, float* y,
                                   bool accumulate,
                                   MatMulScratch& scratch) const {
  if (rows.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const PackedRows packed,
                   Pack(pool, std::move(rows), x, as_int16, scratch));
  pool.ParallelFor(panels(), 2, [&](size_t begin, size_t end) {
    MultiplyPanels(packed, begin, end, y, accumulate);
  });
  return absl::OkStatus();
}

absl::StatusOr<DenseLinear::PackedRows> DenseLinear::Pack(
    ThreadPool& pool, std::vector<int> rows, const float* x, bool as_int16,
    MatMulScratch& scratch) const {
  const int count = static_cast<int>(rows.size());
  PackedRows packed = {.rows = std::move(rows),
                       .blocks = RowBlocks(count, kernels_.max_rows),
                       .as_int16 = as_int16};
  packed.segments = (k_ + kActivationSegment - 1) / kActivationSegment;
  const size_t columns = as_int16 ? padded_k_ / 2 : padded_k_;
  const size_t packed_bytes = RoundUp(columns * count * 4, 64);
  const size_t scale_bytes = as_int16 ? packed.segments * count * 4 : 0;
  ASSIGN_OR_RETURN(uint8_t* const memory,
                   scratch.Reserve(packed_bytes + scale_bytes));
  auto* const floats = reinterpret_cast<float*>(memory);
  auto* const pairs = reinterpret_cast<int32_t*>(memory);
  auto* const scales = reinterpret_cast<float*>(memory + packed_bytes);
  packed.floats = floats;
  packed.pairs = pairs;
  packed.scales = scales;

  const auto pack_block = [&](int block) {
    const int size = packed.blocks.size(block);
    const size_t first = packed.blocks.begin(block);
    std::vector<int16_t> quantized(as_int16 ? padded_k_ : 0);
    std::vector<float> row_scales(as_int16 ? packed.segments : 0);
    for (int i = 0; i < size; ++i) {
      const float* row = x + static_cast<size_t>(packed.rows[first + i]) * k_;
      if (!as_int16) {
        float* out = floats + first * columns + i;
        for (int c = 0; c < k_; ++c)
          out[static_cast<size_t>(c) * size] = row[c];
        if (padded_k_ > k_) out[static_cast<size_t>(k_) * size] = 0;
        continue;
      }
      kernels_.quantize(row, k_, quantized.data(), row_scales.data());
      int32_t* out = pairs + first * columns + i;
      for (size_t c = 0; c < columns; ++c) {
        std::memcpy(out + c * size, &quantized[2 * c], sizeof(*out));
      }
      float* scale_out = scales + first * packed.segments + i;
      for (int s = 0; s < packed.segments; ++s) {
        scale_out[static_cast<size_t>(s) * size] = row_scales[s];
      }
    }
  };
  // Below some 20 microseconds of copying, waking threads costs more.
  const size_t grain = std::max<size_t>(1, 32768 / (columns * 16));
  pool.ParallelFor(packed.blocks.count(), grain, [&](size_t begin, size_t end) {
    for (size_t block = begin; block < end; ++block) {
      pack_block(static_cast<int>(block));
    }
  });
  return packed;
}

void DenseLinear::MultiplyPanels(const PackedRows& packed, size_t first,
                                 size_t last, float* y, bool accumulate) const {
  const bool unpack = !packed.as_int16 && type_ != PanelType::kFloat32 &&
                      packed.blocks.count() >= kBlocksWorthUnpacking;
  const size_t unpacked_floats = static_cast<size_t>(padded_k_) * kPanelRows;
  const size_t bytes = unpack ? unpacked_floats * 4 : panel_bytes();
  const size_t most = kernels_.panels_for_rows(packed.blocks.size(0));
  // Panels that stay in the second-level cache while all blocks of rows pass.
  const size_t group =
      std::clamp(kCachedBytes / bytes / most * most, most, kMaxGroup);
  for (; first < last; first += group) {
    const size_t size = std::min(group, last - first);
    const void* pointers[kMaxGroup];
    for (size_t i = 0; i < size; ++i) {
      pointers[i] = panel(first + i);
      if (!unpack) continue;
      float* const unpacked =
          ThreadScratch(group * unpacked_floats) + i * unpacked_floats;
      kernels_.unpack(type_, pointers[i], padded_k_, unpacked);
      pointers[i] = unpacked;
    }
    for (int block = 0; block < packed.blocks.count(); ++block) {
      for (size_t i = 0; i < size;) {
        size_t count = most;
        while (count > size - i) count /= 2;
        MultiplyGroup(packed, block, unpack ? PanelType::kFloat32 : type_,
                      pointers + i, static_cast<int>(count), first + i, y,
                      accumulate);
        i += count;
      }
    }
  }
}

void DenseLinear::MultiplyGroup(const PackedRows& packed, int block,
                                PanelType type, const void* const* panels,
                                int count, size_t first, float* y,
                                bool accumulate) const {
  constexpr int kMostValues = 32 * kPanelRows;
  float tile[kMostValues];
  const int rows = packed.blocks.size(block);
  const int stride = count * kPanelRows;
  ANYPREC_CHECK(rows * stride <= kMostValues);
  const size_t begin = packed.blocks.begin(block);
  if (packed.as_int16) {
    kernels_.multiply_int16(rows, count, packed.pairs + begin * (padded_k_ / 2),
                            packed.scales + begin * packed.segments, panels,
                            padded_k_, tile, stride);
  } else {
    kernels_.multiply(type, rows, count, packed.floats + begin * padded_k_,
                      panels, padded_k_, tile, stride);
  }
  const size_t column = first * kPanelRows;
  const int columns = static_cast<int>(std::min<size_t>(stride, n_ - column));
  const float* scales =
      row_scales_.empty() ? nullptr : row_scales_.data() + column;
  for (int i = 0; i < rows; ++i) {
    kernels_.store(
        tile + i * stride, scales, columns, accumulate,
        y + static_cast<size_t>(packed.rows[begin + i]) * n_ + column);
  }
}

}  // namespace anyprec
