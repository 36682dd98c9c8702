#include "kernels/cuda/dense_layer.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/random_fill.cuh"
#include "kernels/status_macros.h"
#include "kernels/validation.h"

namespace anyprec {
namespace {

// Copies the parts' weights, and their scales if any, one after the other.
absl::Status UploadParts(std::span<const DenseMatrix> parts, char* data,
                         float* row_scales, CudaStream& stream) {
  for (const DenseMatrix& part : parts) {
    const size_t bytes =
        static_cast<size_t>(part.n) * part.k * ElementBytes(part.type);
    RETURN_IF_ERROR(stream.Upload(part.data, bytes, data));
    data += bytes;
    if (row_scales == nullptr) continue;
    RETURN_IF_ERROR(stream.Upload(part.row_scales.data(),
                                  part.row_scales.size_bytes(), row_scales));
    row_scales += part.n;
  }
  return absl::OkStatus();
}

absl::Status FillRandom(const RandomLayer& layer, DenseMatrix::Type type,
                        const DeviceMemory& data, float* row_scales,
                        CudaStream& stream) {
  if (type == DenseMatrix::Type::kInt8) {
    const std::vector<float> scales(layer.n, RandomInt8Scale(layer.k));
    RETURN_IF_ERROR(stream.Upload(scales.data(), scales.size() * sizeof(float),
                                  row_scales));
    RETURN_IF_ERROR(
        stream.Check(FillRandomInt8(layer, static_cast<uint32_t*>(data.data()),
                                    stream.get()),
                     "making random weights"));
    return stream.Synchronize();
  }
  const std::vector<Float16> table = RandomCentroids(8, layer.k);
  const size_t table_bytes = table.size() * sizeof(Float16);
  ASSIGN_OR_RETURN(const DeviceMemory on_device,
                   stream.Allocate(table_bytes, "a table of weights"));
  RETURN_IF_ERROR(stream.Upload(table.data(), table_bytes, on_device.data()));
  RETURN_IF_ERROR(stream.Check(
      FillRandomHalves(layer, static_cast<const Float16*>(on_device.data()),
                       static_cast<Float16*>(data.data()), stream.get()),
      "making random weights"));
  return stream.Synchronize();  // before the table is freed
}

}  // namespace

absl::StatusOr<std::unique_ptr<DenseLayer>> DenseLayer::Load(
    std::span<const DenseMatrix> parts, CudaStream& stream) {
  RETURN_IF_ERROR(ValidateDense(parts));
  DenseWeights view;
  view.type = parts[0].type;
  view.k = parts[0].k;
  for (const DenseMatrix& part : parts) view.n += part.n;
  ASSIGN_OR_RETURN(std::unique_ptr<DenseLayer> layer, Allocate(view, stream));
  RETURN_IF_ERROR(UploadParts(parts, static_cast<char*>(layer->data_.data()),
                              layer->row_scales(), stream));
  return layer;
}

absl::StatusOr<std::unique_ptr<DenseLayer>> DenseLayer::LoadRandom(
    const RandomLayer& layer, DenseMatrix::Type type, CudaStream& stream) {
  RETURN_IF_ERROR(ValidateRandomLayer(layer));
  if (type != DenseMatrix::Type::kInt8 && type != DenseMatrix::Type::kFloat16) {
    return absl::InvalidArgumentError(
        "a random dense layer, needs type int8 or fp16");
  }
  DenseWeights view;
  view.type = type;
  view.n = layer.n;
  view.k = layer.k;
  ASSIGN_OR_RETURN(std::unique_ptr<DenseLayer> loaded, Allocate(view, stream));
  RETURN_IF_ERROR(
      FillRandom(layer, type, loaded->data_, loaded->row_scales(), stream));
  return loaded;
}

absl::StatusOr<std::unique_ptr<DenseLayer>> DenseLayer::Allocate(
    DenseWeights view, CudaStream& stream) {
  const std::string what =
      absl::StrCat("a dense ", view.n, " x ", view.k, " layer");
  ASSIGN_OR_RETURN(DeviceMemory data,
                   stream.Allocate(static_cast<size_t>(view.n) * view.k *
                                       ElementBytes(view.type),
                                   what));
  DeviceMemory row_scales;
  if (view.type == DenseMatrix::Type::kInt8) {
    ASSIGN_OR_RETURN(row_scales, stream.Allocate(view.n * sizeof(float), what));
  }
  view.data = data.data();
  view.row_scales = static_cast<const float*>(row_scales.data());
  return std::unique_ptr<DenseLayer>(
      new DenseLayer(view, std::move(data), std::move(row_scales)));
}

absl::Status DenseLayer::Multiply(const RowGroup& group, const float* x,
                                  float* y, bool accumulate,
                                  ScratchMemory& /*scratch*/,
                                  CudaStream& stream) const {
  x += static_cast<size_t>(group.begin) * view_.k;
  y += static_cast<size_t>(group.begin) * view_.n;
  return stream.Check(MultiplyDense(view_, x, group.end - group.begin, y,
                                    accumulate, stream.get()),
                      "multiplying by a dense layer");
}

absl::Status DenseLayer::MultiplyTable(const StepTableView& table,
                                       const float* x, float* y,
                                       bool accumulate,
                                       CudaStream& stream) const {
  return stream.Check(
      MultiplyDense(view_, x, table.rows, y, accumulate, stream.get()),
      "multiplying by a dense layer");
}

absl::Status DenseLayer::Embed(const int32_t* ids, LaunchRows count, float* y,
                               CudaStream& stream) const {
  return stream.Check(EmbedDense(view_, ids, count, y, stream.get()),
                      "looking up embeddings");
}

}  // namespace anyprec
