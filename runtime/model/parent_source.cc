#include "runtime/model/parent_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/dense_matrix.h"

namespace anyprec {

bool ParentSource::HasLmHead() const {
  return !config().tie_word_embeddings ||
         config().quantization->lm_head == "int8";
}

absl::StatusOr<std::unique_ptr<LinearWeights>> ParentSource::LoadStack(
    std::span<const LinearSpec> specs, Backend& backend) {
  std::vector<QuantizedTensor> tensors;
  for (const LinearSpec& spec : specs) {
    ASSIGN_OR_RETURN(QuantizedTensor tensor, file_->LoadLinear(spec.name));
    tensors.push_back(std::move(tensor));
  }
  std::vector<QuantizedLinear> parts;
  for (const QuantizedTensor& tensor : tensors) parts.push_back(tensor.View());
  absl::StatusOr<std::unique_ptr<LinearWeights>> weights =
      backend.LoadBitPlanes(parts);
  for (const LinearSpec& spec : specs) file_->Release(spec.name);
  return weights;
}

absl::StatusOr<std::unique_ptr<LinearWeights>> ParentSource::LoadDense(
    const LinearSpec& spec, Backend& backend) {
  const std::string name = absl::StrCat(spec.name, ".weight");
  ASSIGN_OR_RETURN(const DenseTensor tensor, file_->LoadDense(name));
  DenseMatrix matrix = ViewDense(tensor, spec);
  DenseTensor scales;
  if (matrix.type == DenseMatrix::Type::kInt8) {
    ASSIGN_OR_RETURN(scales,
                     file_->LoadDense(absl::StrCat(spec.name, ".scale")));
    matrix.row_scales = scales.As<float>();
  }
  absl::StatusOr<std::unique_ptr<LinearWeights>> weights =
      backend.LoadDense({&matrix, 1});
  file_->Release(name);
  return weights;
}

absl::StatusOr<std::vector<float>> ParentSource::LoadNorm(
    absl::string_view name, int /*n*/) {
  const std::string tensor_name = absl::StrCat(name, ".weight");
  ASSIGN_OR_RETURN(const DenseTensor tensor, file_->LoadDense(tensor_name));
  return ToFloats(tensor, tensor_name);
}

}  // namespace anyprec
