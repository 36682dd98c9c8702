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

  int n() const override { return view_.n; }
  int k() const override { return view_.k; }

  size_t BytesRead(int precision) const override {
    size_t bytes = codebooks_[precision].bytes();
    for (int i = 0; i < precision; ++i) bytes += planes_[i].bytes();
    return bytes;
  }

  size_t BytesResident() const override {
    size_t bytes = 0;
    for (const DeviceMemory& plane : planes_) bytes += plane.bytes();
    for (const DeviceMemory& codebook : codebooks_) bytes += codebook.bytes();
    return bytes;
  }

  absl::Status Multiply(const RowGroup& group, const float* x, float* y,
                        bool accumulate, ScratchMemory& scratch,
                        CudaStream& stream) const override;

 private:
  BitPlaneWeights view_;
  DeviceMemory planes_[kMaxBits];
  DeviceMemory codebooks_[kMaxBits + 1];  // by precision
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
  const size_t bytes = tiles.size() * sizeof(uint32_t);
  ASSIGN_OR_RETURN(
      planes_[plane],
      stream.Allocate(bytes, absl::StrCat("plane ", plane, " of a ", view_.n,
                                          " x ", view_.k, " layer")));
  view_.planes[plane] = static_cast<const uint32_t*>(planes_[plane].data());
  return stream.Upload(tiles.data(), bytes, planes_[plane].data());
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
  const size_t rows = size_t{kTileRows} * BandCount(view_.n);
  centroids.resize(rows << precision);  // with zeros
  const size_t bytes = centroids.size() * sizeof(Float16);
  DeviceMemory& memory = codebooks_[precision];
  ASSIGN_OR_RETURN(
      memory, stream.Allocate(
                  bytes, absl::StrCat("the ", precision, "-bit codebook of a ",
                                      view_.n, " x ", view_.k, " layer")));
  view_.codebooks[precision] = static_cast<const Float16*>(memory.data());
  return stream.Upload(centroids.data(), bytes, memory.data());
}

absl::Status BitPlaneLayer::Multiply(const RowGroup& group, const float* x,
                                     float* y, bool accumulate,
                                     ScratchMemory& scratch,
                                     CudaStream& stream) const {
  const int precision = group.precision;
  ANYPREC_CHECK(precision >= kMinBits && precision <= kMaxBits &&
                view_.codebooks[precision] != nullptr)
      << "precision " << precision << " was not loaded";
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
  const int planes = parts[0].codebooks.back().precision;
  for (int plane = 0; plane < planes; ++plane) {
    RETURN_IF_ERROR(layer->AddPlane(plane, parts, tiles, stream));
  }
  for (size_t i = 0; i < parts[0].codebooks.size(); ++i) {
    RETURN_IF_ERROR(layer->AddCodebook(i, parts, stream));
  }
  return layer;
}

}  // namespace anyprec
