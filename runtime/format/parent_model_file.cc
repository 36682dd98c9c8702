#include "runtime/format/parent_model_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "kernels/types.h"
#include "runtime/format/config_file.h"
#include "runtime/format/crc32c.h"
#include "runtime/format/scale_range.h"

namespace anyprec {
namespace {

constexpr size_t kHexDigits = 8;  // of one checksum

std::string Where(const SafetensorsFolder::Entry& entry) {
  return absl::StrCat(entry.file->path(), ": tensor \"",
                      PrintableName(entry.tensor->info.name), "\"");
}

bool IsAligned(std::span<const std::byte> data, size_t alignment) {
  return reinterpret_cast<uintptr_t>(data.data()) % alignment == 0;
}

// Part `part` of `parts` equal ones.
std::span<const std::byte> Part(std::span<const std::byte> data, int part,
                                int parts) {
  const size_t bytes = data.size() / static_cast<size_t>(parts);
  return data.subspan(static_cast<size_t>(part) * bytes, bytes);
}

std::span<const Float16> Halves(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const Float16*>(bytes.data()),
          bytes.size() / sizeof(Float16)};
}

// Views what the file has on a boundary of `alignment`, and copies the rest
// into one buffer, each piece on a boundary of its own.
class Pieces {
 public:
  void Add(std::span<const std::byte> data, size_t alignment) {
    pieces_.push_back(data);
    moved_.push_back(!IsAligned(data, alignment));
    if (moved_.back()) bytes_ += RoundUp(data.size());
  }

  // The pieces where they are now, in the order of Add().
  std::vector<std::span<const std::byte>> Place(AlignedBytes* storage) {
    *storage = AlignedBytes(bytes_);
    size_t at = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (!moved_[i]) continue;
      const auto room = storage->span().subspan(at, pieces_[i].size());
      std::memcpy(room.data(), pieces_[i].data(), room.size());
      at += RoundUp(room.size());
      pieces_[i] = room;
    }
    return std::move(pieces_);
  }

 private:
  static size_t RoundUp(size_t bytes) {
    constexpr size_t kTo = AlignedBytes::kAlignment;
    return (bytes + kTo - 1) / kTo * kTo;
  }

  std::vector<std::span<const std::byte>> pieces_;
  std::vector<bool> moved_;
  size_t bytes_ = 0;  // to be moved
};

absl::Status CheckTensor(const TensorInfo& needed,
                         const SafetensorsFolder::Entry* entry,
                         absl::string_view path) {
  if (entry == nullptr) {
    return absl::DataLossError(absl::StrCat(
        path, ": tensor \"", needed.name, "\" is missing, needed is ",
        DTypeName(needed.dtype), " ", ShapeToString(needed.shape)));
  }
  const TensorInfo& found = entry->tensor->info;
  // Planes are bits: the sign that a framework gives their words is no matter.
  const bool same_type =
      found.dtype == needed.dtype ||
      (needed.dtype == DType::kI32 && found.dtype == DType::kU32);
  if (same_type && found.shape == needed.shape) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(Where(*entry), " is ", DTypeName(found.dtype), " ",
                   ShapeToString(found.shape), ", needed is ",
                   DTypeName(needed.dtype), " ", ShapeToString(needed.shape)));
}

absl::Status CheckVersion(const SafetensorsFile& file) {
  const auto version = file.metadata().find("format_version");
  if (version != file.metadata().end() &&
      version->second == kParentModelVersion) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(absl::StrCat(
      file.path(), ": format_version in __metadata__ is ",
      version == file.metadata().end()
          ? "missing"
          : absl::StrCat("\"", PrintableName(version->second), "\""),
      ", supported is \"", kParentModelVersion, "\""));
}

// Whether the file states `parts` checksums for a tensor.
absl::Status CheckChecksums(const SafetensorsFolder::Entry& entry, int parts) {
  const std::string key = absl::StrCat("crc32c:", entry.tensor->info.name);
  const auto& metadata = entry.file->metadata();
  const auto found = metadata.find(key);
  const size_t needed = static_cast<size_t>(parts) * (kHexDigits + 1) - 1;
  if (found != metadata.end() && found->second.size() == needed) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrCat(Where(entry), ": \"", key, "\" in __metadata__ is ",
                   found == metadata.end()
                       ? "missing"
                       : absl::StrCat(found->second.size(), " characters"),
                   ", needed are ", parts, " checksums of ", kHexDigits,
                   " hex digits, separated by spaces"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ParentModelFile>> ParentModelFile::Open(
    const std::string& directory, const OpenOptions& options) {
  ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(directory));
  if (!config.quantization.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory,
                     "/config.json: quantization_config is missing, "
                     "needed is a parent model's"));
  }
  const QuantizationConfig& quantization = *config.quantization;
  if (options.max_bits < quantization.seed_bits) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": max_bits is ", options.max_bits,
        ", needed is at least the seed's ", quantization.seed_bits));
  }
  const int max_bits = std::min(options.max_bits, quantization.parent_bits);
  ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFolder> tensors,
                   SafetensorsFolder::Open(directory));
  std::unique_ptr<ParentModelFile> file(
      new ParentModelFile(directory, std::move(config), max_bits,
                          options.verify_checksums, std::move(tensors)));
  RETURN_IF_ERROR(file->CheckTensors());
  return file;
}

ParentModelFile::ParentModelFile(std::string path, ModelConfig config,
                                 int max_bits, bool verify_checksums,
                                 std::unique_ptr<SafetensorsFolder> tensors)
    : path_(std::move(path)),
      config_(std::move(config)),
      max_bits_(max_bits),
      verify_checksums_(verify_checksums),
      tensors_(std::move(tensors)) {}

absl::Status ParentModelFile::CheckTensors() {
  for (const auto& file : tensors_->files()) {
    RETURN_IF_ERROR(CheckVersion(*file));
  }
  for (const SafetensorsWriter::TensorSpec& spec :
       ParentModelTensors(config_)) {
    const SafetensorsFolder::Entry* entry = tensors_->Find(spec.info.name);
    RETURN_IF_ERROR(CheckTensor(spec.info, entry, path_));
    if (verify_checksums_) {
      RETURN_IF_ERROR(CheckChecksums(*entry, spec.checksum_parts));
    }
  }
  for (int layer = 0; layer <= config_.num_layers; ++layer) {
    for (TensorInfo& info : DenseTensorSpecs(config_, layer)) {
      dense_names_.insert(std::move(info.name));
    }
    if (layer == config_.num_layers) break;
    for (LinearSpec& linear : LinearSpecs(config_, layer)) {
      const std::string name = linear.name;
      linears_.emplace(name, std::move(linear));
    }
  }
  return absl::OkStatus();
}

absl::Status ParentModelFile::VerifyPart(const SafetensorsFolder::Entry& entry,
                                         int part, int parts) const {
  if (!verify_checksums_) return absl::OkStatus();
  const std::string& name = entry.tensor->info.name;
  const std::string& checksums =
      entry.file->metadata().at(absl::StrCat("crc32c:", name));
  const absl::string_view digits = absl::string_view(checksums).substr(
      static_cast<size_t>(part) * (kHexDigits + 1), kHexDigits);
  const uint32_t computed = Crc32c(Part(entry.tensor->data, part, parts));
  uint32_t stored = 0;
  if (absl::SimpleHexAtoi(digits, &stored) && stored == computed) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat(
      Where(entry), parts > 1 ? absl::StrCat(", plane ", part) : "",
      ": CRC-32C ", absl::StrFormat("%08x", computed), ", needed is ",
      PrintableName(digits)));
}

absl::StatusOr<QuantizedTensor> ParentModelFile::LoadLinear(
    absl::string_view name) const {
  const auto found = linears_.find(name);
  if (found == linears_.end()) {
    return absl::NotFoundError(absl::StrCat(path_, ": no quantized layer \"",
                                            PrintableName(name), "\""));
  }
  const LinearSpec& spec = found->second;
  const QuantizationConfig& quantization = *config_.quantization;
  Pieces pieces;
  const SafetensorsFolder::Entry* planes = tensors_->Find(PlanesName(name));
  for (int plane = 0; plane < max_bits_; ++plane) {
    RETURN_IF_ERROR(VerifyPart(*planes, plane, parent_bits()));
    pieces.Add(Part(planes->tensor->data, plane, parent_bits()),
               AlignedBytes::kAlignment);
  }
  for (int p = seed_bits(); p <= max_bits_; ++p) {
    for (const TensorInfo& info : PrecisionTensors(quantization, spec, p)) {
      const SafetensorsFolder::Entry* entry = tensors_->Find(info.name);
      RETURN_IF_ERROR(VerifyPart(*entry, 0, 1));
      pieces.Add(entry->tensor->data, alignof(Float16));
    }
  }
  QuantizedTensor result = {.n = spec.n, .k = spec.k};
  const auto placed = pieces.Place(&result.storage);
  auto next = placed.begin();
  for (int plane = 0; plane < max_bits_; ++plane) {
    result.planes.push_back(
        reinterpret_cast<const uint32_t*>((next++)->data()));
  }
  for (int p = seed_bits(); p <= max_bits_; ++p) {
    const std::vector<TensorInfo> infos =
        PrecisionTensors(quantization, spec, p);
    std::vector<std::span<const Float16>> values;
    for (const TensorInfo& info : infos) {
      const std::span<const std::byte> data = *next++;
      RETURN_IF_ERROR(
          CheckFinite(DType::kF16, data,
                      absl::StrCat(path_, ": tensor \"", info.name, "\"")));
      values.push_back(Halves(data));
    }
    if (quantization.has_scales()) {
      result.scales.push_back(
          {p, quantization.group_size, values[0], values[1]});
      RETURN_IF_ERROR(CheckScaleRange(
          result.scales.back(), GroupCount(spec.k, quantization.group_size),
          absl::StrCat(path_, ": tensor \"", infos[0].name, "\"")));
    } else {
      result.codebooks.push_back({p, values[0]});
    }
  }
  return result;
}

absl::StatusOr<DenseTensor> ParentModelFile::LoadDense(
    absl::string_view name) const {
  if (name == "lm_head.weight" && config_.tie_word_embeddings &&
      config_.quantization->lm_head != "int8") {
    name = "model.embed_tokens.weight";
  }
  if (!dense_names_.contains(name)) {
    return absl::NotFoundError(
        absl::StrCat(path_, ": no tensor \"", PrintableName(name), "\""));
  }
  const SafetensorsFolder::Entry* entry = tensors_->Find(name);
  RETURN_IF_ERROR(VerifyPart(*entry, 0, 1));
  const SafetensorsFile::Tensor& tensor = *entry->tensor;
  DenseTensor result;
  result.dtype = tensor.info.dtype;
  result.shape = tensor.info.shape;
  Pieces pieces;
  pieces.Add(tensor.data, static_cast<size_t>(BlockSizeOf(result.dtype).bytes));
  result.data = pieces.Place(&result.storage)[0];
  if (result.dtype != DType::kI8) {
    RETURN_IF_ERROR(CheckFinite(result.dtype, result.data, Where(*entry)));
  }
  return result;
}

void ParentModelFile::Release(absl::string_view name) const {
  const auto drop = [this](absl::string_view tensor) {
    const SafetensorsFolder::Entry* entry = tensors_->Find(tensor);
    if (entry != nullptr) entry->file->mapping().DropPages(entry->tensor->data);
  };
  const auto linear = linears_.find(name);
  if (linear == linears_.end()) return drop(name);
  for (const auto& tensor :
       LinearTensors(*config_.quantization, linear->second)) {
    drop(tensor.info.name);
  }
}

}  // namespace anyprec
