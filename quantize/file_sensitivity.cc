#include "quantize/file_sensitivity.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/status_macros.h"
#include "quantize/fingerprint.h"
#include "runtime/format/tensor.h"

namespace anyprec {

FileSensitivity::FileSensitivity(std::string path, std::string fingerprint)
    : path_(std::move(path)), fingerprint_(std::move(fingerprint)) {}

absl::StatusOr<std::unique_ptr<FileSensitivity>> FileSensitivity::Open(
    const std::string& path) {
  ASSIGN_OR_RETURN(std::string fingerprint, PathFingerprint(path));
  auto source =
      absl::WrapUnique(new FileSensitivity(path, std::move(fingerprint)));
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    ASSIGN_OR_RETURN(source->folder_, SafetensorsFolder::Open(path));
  } else {
    ASSIGN_OR_RETURN(source->file_, SafetensorsFile::Open(path));
  }
  return source;
}

const SafetensorsFile::Tensor* FileSensitivity::Find(
    absl::string_view name) const {
  if (file_ != nullptr) return file_->Find(name);
  const SafetensorsFolder::Entry* entry = folder_->Find(name);
  return entry == nullptr ? nullptr : entry->tensor;
}

absl::StatusOr<SampleWeights> FileSensitivity::WeightsFor(
    absl::string_view layer, int n, int k) {
  const std::string name = absl::StrCat(layer, ".weight");
  const SafetensorsFile::Tensor* tensor = Find(name);
  // Checkpoints saved from the bare decoder lack the prefix, and so may this.
  if (tensor == nullptr) tensor = Find(absl::StripPrefix(name, "model."));
  const std::string where = absl::StrCat(path_, ": sensitivity of ", name);
  if (tensor == nullptr) {
    return absl::NotFoundError(absl::StrCat(where, ": no such tensor"));
  }
  const TensorInfo& info = tensor->info;
  const std::vector<int64_t> whole = {n, k};
  const std::vector<int64_t> broadcast = {k};
  if (info.shape != whole && info.shape != broadcast) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": shape is ", ShapeToString(info.shape), ", needed is ",
        ShapeToString(whole), " or ", ShapeToString(broadcast)));
  }
  const DenseTensor view = {info.dtype, info.shape, tensor->data, {}};
  ASSIGN_OR_RETURN(std::vector<float> values, ToFloats(view, where));
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": element ", i, " is ", values[i],
                       ", needed is a value of at least 0"));
    }
  }
  return SampleWeights(std::move(values), k);
}

}  // namespace anyprec
