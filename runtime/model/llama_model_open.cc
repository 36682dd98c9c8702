// The three ways to a LlamaModel: each opens a source and hands it to the
// loader.

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/checkpoint.h"
#include "runtime/format/config_file.h"
#include "runtime/format/parent_model_file.h"
#include "runtime/model/checkpoint_source.h"
#include "runtime/model/llama_loader.h"
#include "runtime/model/llama_model.h"
#include "runtime/model/parent_source.h"
#include "runtime/model/synthetic_source.h"

namespace anyprec {

absl::StatusOr<bool> IsParentModel(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return false;
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(path));
  return config.quantization.has_value();
}

absl::StatusOr<std::unique_ptr<LlamaModel>> LlamaModel::LoadParent(
    const std::string& folder, const LoadOptions& options, Backend& backend) {
  ASSIGN_OR_RETURN(
      std::unique_ptr<ParentModelFile> file,
      ParentModelFile::Open(folder, {.max_bits = options.max_bits}));
  ParentSource source(std::move(file));
  return LlamaLoader(source, options, backend).Load();
}

absl::StatusOr<std::unique_ptr<LlamaModel>> LlamaModel::LoadCheckpoint(
    const std::string& path, const LoadOptions& options, Backend& backend) {
  ASSIGN_OR_RETURN(std::unique_ptr<Checkpoint> checkpoint,
                   Checkpoint::Open(path));
  CheckpointSource source(std::move(checkpoint));
  return LlamaLoader(source, options, backend).Load();
}

absl::StatusOr<std::unique_ptr<LlamaModel>> LlamaModel::Synthetic(
    absl::string_view name, const LoadOptions& options, Backend& backend) {
  ASSIGN_OR_RETURN(const ModelConfig config, SyntheticModelConfig(name));
  if ((options.max_bits < SyntheticSource::kSeedBits ||
       options.max_bits > kMaxBits) &&
      options.max_bits != kUnquantizedBits) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_bits is ", options.max_bits, ", must be in [",
        SyntheticSource::kSeedBits, ", ", kMaxBits, "] or ", kUnquantizedBits));
  }
  SyntheticSource source(config, options.max_bits);
  return LlamaLoader(source, options, backend).Load();
}

}  // namespace anyprec
