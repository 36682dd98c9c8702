#include "server/model_loader.h"

#include <spdlog/spdlog.h>

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/status_macros.h"
#include "runtime/model/llama_model.h"
#include "runtime/progress/progress_bar.h"

namespace anyprec {
namespace {

constexpr char kSyntheticPrefix[] = "synthetic:";

absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(
    const ServerOptions& options) {
  if (options.device != "cpu") {
    absl::StatusOr<std::unique_ptr<Backend>> cuda =
        CreateCudaBackend({.graphs = options.cuda_graphs});
    // One that is there but fails is no reason to go on without it.
    if (cuda.ok() || options.device == "cuda" ||
        !absl::IsFailedPrecondition(cuda.status())) {
      return cuda;
    }
    spdlog::debug("no CUDA: {}", std::string(cuda.status().message()));
  }
  CpuBackendOptions cpu;
  cpu.threads = options.threads;
  cpu.pin_threads = options.pin_threads;
  // An unquantized model knows fp32 only.
  const bool fp32 =
      options.compute == "fp32" || options.max_bits == kUnquantizedBits;
  cpu.mode = fp32 ? ComputeMode::kFloat32 : ComputeMode::kInt16;
  return CreateCpuBackend(cpu);
}

// The likeliest mistakes, told apart from a damaged model.
absl::Status CheckPath(const std::string& path, bool unquantized) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(
        absl::StrCat("--model: there is no \"", path, "\""));
  }
  ASSIGN_OR_RETURN(const bool is_parent, IsParentModel(path));
  if (unquantized && is_parent) {
    return absl::InvalidArgumentError(
        absl::StrCat("--max_bits is 16, which serves an unquantized model; \"",
                     path, "\" is quantized, to at most ", kMaxBits, " bits"));
  }
  if (!unquantized && !is_parent) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--model: \"", path, "\" is not a folder that anyprec-quantize wrote; ",
        "run anyprec-quantize --input=", path,
        " --output=DIR and serve DIR, or serve it unquantized with "
        "--max_bits=16"));
  }
  return absl::OkStatus();
}

absl::Status LoadFiles(const std::string& path, const LoadOptions& options,
                       LoadedModel& loaded) {
  const bool unquantized = options.max_bits == kUnquantizedBits;
  RETURN_IF_ERROR(CheckPath(path, unquantized));
  ASSIGN_OR_RETURN(
      loaded.model,
      unquantized ? LlamaModel::LoadCheckpoint(path, options, *loaded.backend)
                  : LlamaModel::LoadParent(path, options, *loaded.backend));
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(path);
  if (absl::IsNotFound(tokenizer.status())) {
    spdlog::warn("prompts must be token ids: {}",
                 std::string(tokenizer.status().message()));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(loaded.tokenizer, std::move(tokenizer));
  // The embedding may have more rows: some models pad it.
  const int vocab_size = loaded.model->config().vocab_size;
  if (loaded.tokenizer->vocab_size() > vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the tokenizer has ",
                     loaded.tokenizer->vocab_size(), " tokens, the model only ",
                     vocab_size, "; they do not belong together"));
  }
  return absl::OkStatus();
}

// "/models/smollm2/" is called "smollm2".
std::string NameOf(const std::string& path) {
  const std::filesystem::path normal =
      std::filesystem::absolute(path).lexically_normal();
  return normal.has_filename() ? normal.filename().string()
                               : normal.parent_path().filename().string();
}

}  // namespace

absl::StatusOr<LoadedModel> LoadModel(const ServerOptions& options) {
  LoadedModel loaded;
  ASSIGN_OR_RETURN(loaded.backend, CreateBackend(options));

  LoadOptions load;
  load.max_bits = options.max_bits;
  load.max_context_tokens = options.max_context;
  ProgressBar progress("loading", 100, "%");
  load.progress = [&progress](double done) { progress.SetDone(100 * done); };

  absl::string_view synthetic = options.model;
  if (absl::ConsumePrefix(&synthetic, kSyntheticPrefix)) {
    loaded.name = std::string(synthetic);
    ASSIGN_OR_RETURN(loaded.model,
                     LlamaModel::Synthetic(synthetic, load, *loaded.backend));
  } else {
    loaded.name = NameOf(options.model);
    RETURN_IF_ERROR(LoadFiles(options.model, load, loaded));
  }
  return loaded;
}

}  // namespace anyprec
