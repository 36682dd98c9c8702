#include "runtime/model/checkpoint_source.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/dense_matrix.h"
#include "runtime/model/llama_model.h"

namespace anyprec {
namespace {

std::string WeightName(absl::string_view layer) {
  return absl::StrCat(layer, ".weight");
}

}  // namespace

int CheckpointSource::min_bits() const { return kUnquantizedBits; }
int CheckpointSource::max_bits() const { return kUnquantizedBits; }

absl::StatusOr<std::unique_ptr<LinearWeights>> CheckpointSource::LoadStack(
    std::span<const LinearSpec> specs, Backend& backend) {
  std::vector<DenseTensor> tensors;
  for (const LinearSpec& spec : specs) {
    const std::array<int64_t, 2> shape = {spec.n, spec.k};
    ASSIGN_OR_RETURN(DenseTensor tensor,
                     checkpoint_->ReadDense(WeightName(spec.name), shape));
    tensors.push_back(std::move(tensor));
  }
  // A stack has one type. GGUF files mix them (q and k in another block type
  // than v): then all parts go to fp32, which holds every one exactly.
  const bool mixed = std::any_of(tensors.begin(), tensors.end(),
                                 [&](const DenseTensor& tensor) {
                                   return tensor.dtype != tensors.front().dtype;
                                 });
  std::vector<std::vector<float>> widened;
  std::vector<DenseMatrix> parts;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (mixed) {
      ASSIGN_OR_RETURN(std::vector<float> values,
                       ToFloats(tensors[i], WeightName(specs[i].name)));
      widened.push_back(std::move(values));
      parts.push_back({.type = DenseMatrix::Type::kFloat32,
                       .data = widened.back().data(),
                       .row_scales = {},
                       .n = specs[i].n,
                       .k = specs[i].k});
    } else {
      parts.push_back(ViewDense(tensors[i], specs[i]));
    }
  }
  absl::StatusOr<std::unique_ptr<LinearWeights>> weights =
      backend.LoadDense(parts);
  for (const LinearSpec& spec : specs) {
    checkpoint_->Release(WeightName(spec.name));
  }
  return weights;
}

absl::StatusOr<std::unique_ptr<LinearWeights>> CheckpointSource::LoadDense(
    const LinearSpec& spec, Backend& backend) {
  return LoadStack({&spec, 1}, backend);
}

absl::StatusOr<std::vector<float>> CheckpointSource::LoadNorm(
    absl::string_view name, int n) {
  const std::array<int64_t, 1> shape = {n};
  return checkpoint_->ReadFloat(WeightName(name), shape);
}

}  // namespace anyprec
