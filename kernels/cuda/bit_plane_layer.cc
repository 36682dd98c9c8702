#include "kernels/cuda/bit_plane_layer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/bit_plane_decode.cuh"
#include "kernels/cuda/bit_plane_prefill.cuh"
#include "kernels/cuda/bit_plane_weights.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/random_fill.cuh"
#include "kernels/cuda/step_table.h"
#include "kernels/cuda/weight_tiles.h"
#include "kernels/status_macros.h"
#include "kernels/validation.h"

namespace anyprec {
namespace {

// Prompt rows of a product at a time, which bounds its scratch: 1024 rows of
// 28672 columns take 56 MiB. The kernel decodes the weights anew for every 128
// rows as it is.
constexpr int kMaxPrefillRows = 1024;

class BitPlaneLayer final : public LinearLayer {
 public:
  BitPlaneLayer(int n, int k) {
    view_.n = n;
    view_.k = k;
  }

  absl::Status AddPlane(int plane, std::span<const QuantizedLinear> parts,
                        std::vector<uint32_t>& tiles, CudaStream& stream);
  absl::Status AddCodebook(size_t index, std::span<const QuantizedLinear> parts,
                           CudaStream& stream);
  absl::Status AddScales(size_t index, std::span<const QuantizedLinear> parts,
                         CudaStream& stream);
  absl::Status AddRandomPlane(int plane, uint64_t seed, CudaStream& stream);
  absl::Status AddRandomCodebook(int precision, CudaStream& stream);

  int n() const override { return view_.n; }
  int k() const override { return view_.k; }

  size_t BytesRead(int precision) const override {
    size_t bytes = values_[precision].bytes();
    for (int i = 0; i < precision; ++i) bytes += planes_[i].bytes();
    return bytes;
  }

  size_t BytesResident() const override {
    size_t bytes = 0;
    for (const DeviceMemory& plane : planes_) bytes += plane.bytes();
    for (const DeviceMemory& values : values_) bytes += values.bytes();
    return bytes;
  }

  size_t ScratchBytes(int rows) const override {
    return PrefillScratchBytes(view_.k, std::min(kMaxPrefillRows, rows));
  }
  absl::Status Multiply(const RowGroup& group, const float* x, float* y,
                        bool accumulate, ScratchMemory& scratch,
                        CudaStream& stream) const override;
  absl::Status MultiplyTable(const StepTableView& table, const float* x,
                             float* y, bool accumulate,
                             CudaStream& stream) const override {
    return stream.Check(DecodeBitPlaneSlices(view_, table.slices, x, y,
                                             accumulate, stream.get()),
                        "multiplying decode rows by bit planes");
  }

 private:
  // Memory for a plane in tile order, a precision's padded centroids.
  absl::StatusOr<uint32_t*> AllocatePlane(int plane, CudaStream& stream);
  absl::StatusOr<Float16*> AllocateCodebook(int precision, CudaStream& stream);

  int padded_rows() const { return kTileRows * BandCount(view_.n); }

  BitPlaneWeights view_;
  DeviceMemory planes_[kMaxBits];
  DeviceMemory values_[kMaxBits + 1];  // codebooks or scales, by precision
};

// `tiles` is working memory of the right size.
absl::Status BitPlaneLayer::AddPlane(int plane,
                                     std::span<const QuantizedLinear> parts,
                                     std::vector<uint32_t>& tiles,
                                     CudaStream& stream) {
  std::vector<PlanePart> plane_parts;
  for (const QuantizedLinear& part : parts) {
    plane_parts.push_back({part.matrix.planes[plane], part.matrix.n});
  }
  WriteTiles(plane_parts, view_.k, tiles);
  ASSIGN_OR_RETURN(uint32_t* const memory, AllocatePlane(plane, stream));
  return stream.Upload(tiles.data(), tiles.size() * sizeof(uint32_t), memory);
}

absl::Status BitPlaneLayer::AddCodebook(size_t index,
                                        std::span<const QuantizedLinear> parts,
                                        CudaStream& stream) {
  const int precision = parts[0].codebooks[index].precision;
  std::vector<Float16> centroids;
  for (const QuantizedLinear& part : parts) {
    const std::span<const Float16> own = part.codebooks[index].data;
    centroids.insert(centroids.end(), own.begin(), own.end());
  }
  const size_t rows = padded_rows();
  centroids.resize(rows << precision);  // with zeros
  ASSIGN_OR_RETURN(Float16* const memory, AllocateCodebook(precision, stream));
  return stream.Upload(centroids.data(), centroids.size() * sizeof(Float16),
                       memory);
}

absl::Status BitPlaneLayer::AddScales(size_t index,
                                      std::span<const QuantizedLinear> parts,
                                      CudaStream& stream) {
  std::vector<GroupScales> scales;
  for (const QuantizedLinear& part : parts) {
    scales.push_back(part.scales[index]);
  }
  const auto& [precision, group_size, alpha, beta] = scales[0];
  view_.group_words = group_size / 32;
  const int groups = GroupsOf(view_);
  std::vector<Float16> tiles(TiledScales(view_.n, groups, precision));
  WriteScaleTiles(scales, groups, tiles);
  const size_t bytes = tiles.size() * sizeof(Float16);
  ASSIGN_OR_RETURN(
      values_[precision],
      stream.Allocate(
          bytes, absl::StrCat("the ", precision, "-bit scales of a ", view_.n,
                              " x ", view_.k, " layer")));
  auto* const memory = static_cast<Float16*>(values_[precision].data());
  view_.scales[precision] = memory;
  return stream.Upload(tiles.data(), bytes, memory);
}

absl::Status BitPlaneLayer::AddRandomPlane(int plane, uint64_t seed,
                                           CudaStream& stream) {
  ASSIGN_OR_RETURN(uint32_t* const memory, AllocatePlane(plane, stream));
  const RandomLayer layer = {.n = view_.n, .k = view_.k, .seed = seed};
  return stream.Check(FillRandomTiles(layer, plane, memory, stream.get()),
                      "making random planes");
}

absl::Status BitPlaneLayer::AddRandomCodebook(int precision,
                                              CudaStream& stream) {
  ASSIGN_OR_RETURN(Float16* const memory, AllocateCodebook(precision, stream));
  const std::vector<Float16> row = RandomCentroids(precision, view_.k);
  const size_t row_bytes = row.size() * sizeof(Float16);
  ASSIGN_OR_RETURN(const DeviceMemory on_device,
                   stream.Allocate(row_bytes, "a row of centroids"));
  RETURN_IF_ERROR(stream.Upload(row.data(), row_bytes, on_device.data()));
  RETURN_IF_ERROR(
      stream.Check(FillRows(static_cast<const Float16*>(on_device.data()),
                            static_cast<int>(row.size()), view_.n,
                            padded_rows(), memory, stream.get()),
                   "repeating a row of centroids"));
  return stream.Synchronize();  // before the row is freed
}

absl::StatusOr<uint32_t*> BitPlaneLayer::AllocatePlane(int plane,
                                                       CudaStream& stream) {
  ASSIGN_OR_RETURN(
      planes_[plane],
      stream.Allocate(TiledWords(view_.n, view_.k) * sizeof(uint32_t),
                      absl::StrCat("plane ", plane, " of a ", view_.n, " x ",
                                   view_.k, " layer")));
  auto* const memory = static_cast<uint32_t*>(planes_[plane].data());
  view_.planes[plane] = memory;
  return memory;
}

absl::StatusOr<Float16*> BitPlaneLayer::AllocateCodebook(int precision,
                                                         CudaStream& stream) {
  const size_t rows = padded_rows();
  ASSIGN_OR_RETURN(
      values_[precision],
      stream.Allocate((rows << precision) * sizeof(Float16),
                      absl::StrCat("the ", precision, "-bit codebook of a ",
                                   view_.n, " x ", view_.k, " layer")));
  auto* const memory = static_cast<Float16*>(values_[precision].data());
  view_.codebooks[precision] = memory;
  return memory;
}

absl::Status BitPlaneLayer::Multiply(const RowGroup& group, const float* x,
                                     float* y, bool accumulate,
                                     ScratchMemory& scratch,
                                     CudaStream& stream) const {
  const int precision = group.precision;
  const int rows = group.end - group.begin;
  x += static_cast<size_t>(group.begin) * view_.k;
  y += static_cast<size_t>(group.begin) * view_.n;
  if (group.phase == Phase::kDecode) {
    return stream.Check(
        DecodeBitPlanes(view_, precision, x, rows, y, accumulate, stream.get()),
        "multiplying decode rows by bit planes");
  }
  for (int first = 0; first < rows; first += kMaxPrefillRows) {
    const int count = std::min(kMaxPrefillRows, rows - first);
    ASSIGN_OR_RETURN(
        void* const memory,
        scratch.Reserve(PrefillScratchBytes(view_.k, count), stream));
    RETURN_IF_ERROR(stream.Check(
        PrefillBitPlanes(view_, precision,
                         x + static_cast<size_t>(first) * view_.k, count,
                         y + static_cast<size_t>(first) * view_.n, accumulate,
                         memory, stream.get()),
        "multiplying prefill rows by bit planes"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<LinearLayer>> LoadBitPlaneLayer(
    std::span<const QuantizedLinear> parts, CudaStream& stream) {
  RETURN_IF_ERROR(ValidateBitPlanes(parts));
  int n = 0;
  for (const QuantizedLinear& part : parts) n += part.matrix.n;
  const int k = parts[0].matrix.k;
  auto layer = std::make_unique<BitPlaneLayer>(n, k);
  std::vector<uint32_t> tiles(TiledWords(n, k));
  const int planes = parts[0].max_precision();
  for (int plane = 0; plane < planes; ++plane) {
    RETURN_IF_ERROR(layer->AddPlane(plane, parts, tiles, stream));
  }
  for (size_t i = 0; i < parts[0].codebooks.size(); ++i) {
    RETURN_IF_ERROR(layer->AddCodebook(i, parts, stream));
  }
  for (size_t i = 0; i < parts[0].scales.size(); ++i) {
    RETURN_IF_ERROR(layer->AddScales(i, parts, stream));
  }
  return layer;
}

absl::StatusOr<std::unique_ptr<LinearLayer>> LoadRandomBitPlaneLayer(
    const RandomLayer& layer, int min_bits, int max_bits, CudaStream& stream) {
  RETURN_IF_ERROR(ValidateRandomLayer(layer));
  RETURN_IF_ERROR(ValidateRandomBits(min_bits, max_bits));
  auto loaded = std::make_unique<BitPlaneLayer>(layer.n, layer.k);
  for (int plane = 0; plane < max_bits; ++plane) {
    RETURN_IF_ERROR(loaded->AddRandomPlane(plane, layer.seed, stream));
  }
  for (int precision = min_bits; precision <= max_bits; ++precision) {
    RETURN_IF_ERROR(loaded->AddRandomCodebook(precision, stream));
  }
  return loaded;
}

}  // namespace anyprec
