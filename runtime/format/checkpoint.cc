#include "runtime/format/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/status_macros.h"
#include "runtime/format/config_file.h"
#include "runtime/format/gguf_config.h"
#include "runtime/format/gguf_dequantize.h"
#include "runtime/format/safetensors_folder.h"

namespace anyprec {
namespace {

constexpr char kEmbedding[] = "model.embed_tokens.weight";
constexpr char kLmHead[] = "lm_head.weight";

// "<file>: tensor "<name>"", as messages begin.
std::string Where(absl::string_view file, absl::string_view name) {
  return absl::StrCat(file, ": tensor \"", PrintableName(name), "\"");
}

bool IsAligned(std::span<const std::byte> data, DType dtype) {
  const auto size = static_cast<uintptr_t>(BlockSizeOf(dtype).bytes);
  return reinterpret_cast<uintptr_t>(data.data()) % size == 0;
}

// Copies `rows` rows, undoing GGUF's order: rotary embedding pairs rows i and
// i + head_dim / 2 of a head in HuggingFace's layout, rows 2 i and 2 i + 1 in
// GGUF's. With no heads, the order stays.
// REQUIRES: the heads divide the rows into even numbers.
void CopyRows(std::span<const std::byte> source, int64_t rows, int heads,
              std::byte* destination) {
  if (source.empty()) return;
  if (heads == 0) {
    std::memcpy(destination, source.data(), source.size());
    return;
  }
  const size_t row_bytes = source.size() / static_cast<size_t>(rows);
  const int64_t head_dim = rows / heads;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t within = row % head_dim;
    const int64_t half = within / (head_dim / 2);
    const int64_t pair = within % (head_dim / 2);
    const int64_t from = row - within + 2 * pair + half;
    std::memcpy(destination + static_cast<size_t>(row) * row_bytes,
                source.data() + static_cast<size_t>(from) * row_bytes,
                row_bytes);
  }
}

class HuggingFaceCheckpoint : public Checkpoint {
 public:
  HuggingFaceCheckpoint(std::string path, ModelConfig config,
                        std::unique_ptr<SafetensorsFolder> tensors)
      : Checkpoint(std::move(path), std::move(config)),
        tensors_(std::move(tensors)),
        has_prefix_(tensors_->Find("model.norm.weight") != nullptr) {}

  const GgufFile* gguf() const override { return nullptr; }

 protected:
  std::optional<Source> Locate(absl::string_view name) const override {
    const SafetensorsFolder::Entry* entry = nullptr;
    if (config().tie_word_embeddings &&
        (name == kEmbedding || name == kLmHead)) {
      // Files keep it under either name, or twice.
      entry = Find(kEmbedding);
      if (entry == nullptr) entry = Find(kLmHead);
    } else {
      entry = Find(name);
    }
    if (entry == nullptr) return std::nullopt;
    return Source{&entry->file->mapping(), &entry->tensor->info,
                  entry->tensor->data};
  }

 private:
  const SafetensorsFolder::Entry* Find(absl::string_view name) const {
    if (!has_prefix_) absl::ConsumePrefix(&name, "model.");
    return tensors_->Find(name);
  }

  const std::unique_ptr<SafetensorsFolder> tensors_;
  const bool has_prefix_;  // whether names begin with "model."
};

class GgufCheckpoint : public Checkpoint {
 public:
  GgufCheckpoint(std::unique_ptr<GgufFile> file, ModelConfig config)
      : Checkpoint(file->path(), std::move(config)), file_(std::move(file)) {}

  const GgufFile* gguf() const override { return file_.get(); }

 protected:
  std::optional<Source> Locate(absl::string_view name) const override {
    if (config().tie_word_embeddings && name == kLmHead) name = kEmbedding;
    const std::optional<std::string> gguf_name = GgufTensorName(name);
    if (!gguf_name.has_value()) return std::nullopt;
    const GgufFile::Tensor* tensor = file_->Find(*gguf_name);
    if (tensor == nullptr) return std::nullopt;
    Source source{&file_->mapping(), &tensor->info, tensor->data};
    if (absl::EndsWith(name, ".q_proj.weight")) {
      source.interleaved_heads = config().num_heads;
    } else if (absl::EndsWith(name, ".k_proj.weight")) {
      source.interleaved_heads = config().num_kv_heads;
    }
    return source;
  }

 private:
  const std::unique_ptr<GgufFile> file_;
};

// A configuration that names fewer layers than there are would make another
// model of this one.
absl::StatusOr<std::unique_ptr<Checkpoint>> RequireNoMoreLayers(
    std::unique_ptr<Checkpoint> checkpoint) {
  const int layers = checkpoint->config().num_layers;
  const std::string next =
      absl::StrCat("model.layers.", layers, ".input_layernorm.weight");
  if (const TensorInfo* const found = checkpoint->Find(next)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Where(checkpoint->path(), found->name),
                     ": the configuration has ", layers, " layers only"));
  }
  return checkpoint;
}

}  // namespace

Checkpoint::Checkpoint(std::string path, ModelConfig config)
    : path_(std::move(path)), config_(std::move(config)) {}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(
    const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  }
  if (!S_ISDIR(info.st_mode)) {
    ASSIGN_OR_RETURN(std::unique_ptr<GgufFile> file, GgufFile::Open(path));
    ASSIGN_OR_RETURN(ModelConfig config, ModelConfigFromGguf(*file));
    return RequireNoMoreLayers(
        std::make_unique<GgufCheckpoint>(std::move(file), std::move(config)));
  }
  ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(path));
  if (config.quantization.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path,
        ": is a parent model (quantization_config of method anyprec), "
        "needed is an unquantized checkpoint"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFolder> tensors,
                   SafetensorsFolder::Open(path));
  return RequireNoMoreLayers(std::make_unique<HuggingFaceCheckpoint>(
      path, std::move(config), std::move(tensors)));
}

const TensorInfo* Checkpoint::Find(absl::string_view name) const {
  const std::optional<Source> source = Locate(name);
  return source.has_value() ? source->info : nullptr;
}

absl::StatusOr<Checkpoint::Source> Checkpoint::LocateForReading(
    absl::string_view name, std::span<const int64_t> shape) const {
  const std::optional<Source> source = Locate(name);
  if (!source.has_value()) {
    return absl::NotFoundError(absl::StrCat(Where(path_, name), " is missing"));
  }
  const TensorInfo& info = *source->info;
  const std::string where = Where(source->file->path(), info.name);
  if (!std::ranges::equal(info.shape, shape)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": shape ", ShapeToString(info.shape),
                     ", needed is ", ShapeToString(shape)));
  }
  if (!CanDequantize(info.dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": type ", DTypeName(info.dtype),
                     ", needed is a floating-point or GGUF block type"));
  }
  const int heads = source->interleaved_heads;
  if (heads != 0 && (info.shape.size() != 2 || info.shape[0] % heads != 0 ||
                     info.shape[0] / heads % 2 != 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": shape ", ShapeToString(info.shape),
        ", needed is an even number of rows for each of ", heads, " heads"));
  }
  return *source;
}

absl::StatusOr<std::vector<float>> Checkpoint::ReadFloat(
    absl::string_view name, std::span<const int64_t> shape) const {
  ASSIGN_OR_RETURN(const Source source, LocateForReading(name, shape));
  const TensorInfo& info = *source.info;
  std::vector<float> values(static_cast<size_t>(*NumElements(info.shape)));
  Dequantize(info.dtype, source.data, values);
  RETURN_IF_ERROR(CheckFinite(DType::kF32,
                              std::as_bytes(std::span<const float>(values)),
                              Where(source.file->path(), info.name)));
  if (source.interleaved_heads == 0) return values;
  std::vector<float> ordered(values.size());
  CopyRows(std::as_bytes(std::span<const float>(values)), info.shape[0],
           source.interleaved_heads,
           std::as_writable_bytes(std::span(ordered)).data());
  return ordered;
}

absl::StatusOr<DenseTensor> Checkpoint::ReadDense(
    absl::string_view name, std::span<const int64_t> shape) const {
  ASSIGN_OR_RETURN(const Source source, LocateForReading(name, shape));
  const TensorInfo& info = *source.info;
  DenseTensor tensor;
  tensor.shape = info.shape;
  if (info.dtype != DType::kF32 && info.dtype != DType::kF16 &&
      info.dtype != DType::kBF16) {
    ASSIGN_OR_RETURN(const std::vector<float> values, ReadFloat(name, shape));
    const auto bytes = std::as_bytes(std::span<const float>(values));
    tensor.dtype = DType::kF32;
    tensor.storage = AlignedBytes(bytes.size());
    CopyRows(bytes, 0, 0, tensor.storage.span().data());
    tensor.data = tensor.storage.span();
    return tensor;
  }
  tensor.dtype = info.dtype;
  tensor.data = source.data;
  if (source.interleaved_heads != 0 || !IsAligned(source.data, info.dtype)) {
    tensor.storage = AlignedBytes(source.data.size());
    CopyRows(source.data, info.shape.empty() ? 1 : info.shape[0],
             source.interleaved_heads, tensor.storage.span().data());
    tensor.data = tensor.storage.span();
  }
  RETURN_IF_ERROR(CheckFinite(tensor.dtype, tensor.data,
                              Where(source.file->path(), info.name)));
  return tensor;
}

void Checkpoint::Release(absl::string_view name) const {
  const std::optional<Source> source = Locate(name);
  if (source.has_value()) source->file->DropPages(source->data);
}

}  // namespace anyprec
