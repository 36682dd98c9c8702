#include "kernels/cuda/dense_layer.h"

#include <string>

#include "absl/strings/str_cat.h"
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

}  // namespace

absl::StatusOr<std::unique_ptr<DenseLayer>> DenseLayer::Load(
    std::span<const DenseMatrix> parts, CudaStream& stream) {
  RETURN_IF_ERROR(ValidateDense(parts));
  DenseWeights view;
  view.type = parts[0].type;
  view.k = parts[0].k;
  for (const DenseMatrix& part : parts) view.n += part.n;
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
  auto* const scales = static_cast<float*>(row_scales.data());
  RETURN_IF_ERROR(
      UploadParts(parts, static_cast<char*>(data.data()), scales, stream));
  view.data = data.data();
  view.row_scales = scales;
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

absl::Status DenseLayer::Embed(const int32_t* ids, int count, float* y,
                               CudaStream& stream) const {
  return stream.Check(EmbedDense(view_, ids, count, y, stream.get()),
                      "looking up embeddings");
}

}  // namespace anyprec
