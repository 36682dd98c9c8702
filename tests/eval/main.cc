// anyprec-eval: measures what a precision costs in quality.
//
//   anyprec-eval perplexity --model=DIR --bits=4 --text=FILE --context=2048
//   anyprec-eval perplexity --model=DIR --bits=4 --documents=FILE.jsonl

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "runtime/format/mapped_file.h"
#include "runtime/model/llama_model.h"
#include "runtime/progress/progress_bar.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/eval/perplexity.h"

ABSL_FLAG(std::string, model, "",
          "parent model folder, or for --bits=16 a HuggingFace folder or GGUF "
          "file");
ABSL_FLAG(int, bits, anyprec::kUnquantizedBits,
          "precision; 16 is the unquantized checkpoint in fp32");
ABSL_FLAG(std::string, text, "", "text file to score as one token stream");
ABSL_FLAG(std::string, documents, "",
          "JSON lines file; the \"text\" of each line is scored alone, a BOS "
          "token before it");
ABSL_FLAG(int, context, 0,
          "tokens per window of --text; 0: the model's context, at most 2048");
ABSL_FLAG(int, windows, 0, "score only the first windows or documents; 0: all");
ABSL_FLAG(std::string, compute, "fp32",
          "fp32: exact products; int16: the server's default arithmetic");
ABSL_FLAG(int, threads, 0, "0: one per core");
ABSL_FLAG(bool, json, false, "print one JSON object");

namespace anyprec {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

constexpr char kUsage[] =
    "Measures the perplexity of a model.\n"
    "  anyprec-eval perplexity --model=DIR --bits=4 --text=FILE "
    "[--context=2048] [--windows=20]\n"
    "  anyprec-eval perplexity --model=DIR --bits=4 --documents=FILE.jsonl\n"
    "  anyprec-eval perplexity --model=CHECKPOINT|FILE.gguf --bits=16 ...";

struct EvalOptions {
  std::string model;
  int bits = 0;
  std::string text;
  std::string documents;
  int context = 0;
  int windows = 0;
  ComputeMode compute = ComputeMode::kFloat32;
  int threads = 0;
  bool json = false;
};

absl::Status CheckRange(absl::string_view flag, int value, int most) {
  if (value >= 0 && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is ", value, ", must be in [0, ", most, "]"));
}

absl::StatusOr<EvalOptions> ParseOptions(const std::vector<char*>& positional) {
  if (positional.size() != 2 || std::string(positional[1]) != "perplexity") {
    return absl::InvalidArgumentError(
        "one command is needed: anyprec-eval perplexity");
  }
  EvalOptions options = {.model = absl::GetFlag(FLAGS_model),
                         .bits = absl::GetFlag(FLAGS_bits),
                         .text = absl::GetFlag(FLAGS_text),
                         .documents = absl::GetFlag(FLAGS_documents),
                         .context = absl::GetFlag(FLAGS_context),
                         .windows = absl::GetFlag(FLAGS_windows),
                         .threads = absl::GetFlag(FLAGS_threads),
                         .json = absl::GetFlag(FLAGS_json)};
  if (options.model.empty()) {
    return absl::InvalidArgumentError("--model is needed");
  }
  if (options.text.empty() == options.documents.empty()) {
    return absl::InvalidArgumentError(
        "one of --text and --documents is needed");
  }
  if (options.bits != kUnquantizedBits &&
      (options.bits < kMinBits || options.bits > kMaxBits)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--bits is ", options.bits, ", must be in [", kMinBits,
                     ", ", kMaxBits, "], or 16 for a checkpoint"));
  }
  RETURN_IF_ERROR(CheckRange("windows", options.windows, 1 << 30));
  RETURN_IF_ERROR(CheckRange("context", options.context, 1 << 24));
  RETURN_IF_ERROR(CheckRange("threads", options.threads, 1024));
  const std::string compute = absl::GetFlag(FLAGS_compute);
  if (compute != "fp32" && compute != "int16") {
    return absl::InvalidArgumentError(
        absl::StrCat("--compute is \"", compute, "\", must be fp32 or int16"));
  }
  if (compute == "int16") options.compute = ComputeMode::kInt16;
  return options;
}

// More text than this would take days to score.
constexpr size_t kMaxTextBytes = size_t{1} << 30;

absl::StatusOr<std::vector<std::vector<TokenId>>> ReadDocuments(
    const std::string& path, int limit, const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const std::string content,
                   ReadSmallFile(path, kMaxTextBytes));
  std::vector<std::vector<TokenId>> documents;
  std::istringstream lines(content);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (limit > 0 && static_cast<int>(documents.size()) == limit) break;
    if (line.empty()) continue;
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("text") ||
        !json["text"].is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ":", number, ": not a JSON object with a string \"text\""));
    }
    ASSIGN_OR_RETURN(std::vector<TokenId> tokens,
                     tokenizer.Encode(json["text"].get<std::string>(),
                                      {.add_special = false}));
    documents.push_back(std::move(tokens));
  }
  return documents;
}

absl::StatusOr<std::unique_ptr<LlamaModel>> LoadModel(
    const EvalOptions& options, Backend& backend) {
  ProgressBar bar("loading", 100, "%");
  LoadOptions load;
  load.progress = [&](double done) { bar.SetDone(done * 100); };
  if (options.bits == kUnquantizedBits) {
    return LlamaModel::LoadCheckpoint(options.model, load, backend);
  }
  load.max_bits = options.bits;
  return LlamaModel::LoadParent(options.model, load, backend);
}

absl::StatusOr<Perplexity> ScoreText(const EvalOptions& options,
                                     const Tokenizer& tokenizer,
                                     LlamaModel& model, Backend& backend) {
  constexpr int kUsualContext = 2048;  // of published WikiText-2 figures
  const int context = options.context > 0
                          ? options.context
                          : std::min(kUsualContext, model.max_context_tokens());
  ASSIGN_OR_RETURN(const std::string text,
                   ReadSmallFile(options.text, kMaxTextBytes));
  ASSIGN_OR_RETURN(const std::vector<TokenId> tokens,
                   tokenizer.Encode(text, {.add_special = true}));
  std::fprintf(stderr, "%s: %zu tokens\n", options.text.c_str(), tokens.size());
  ASSIGN_OR_RETURN(const std::unique_ptr<LikelihoodScorer> scorer,
                   LikelihoodScorer::Create(model, backend, options.bits,
                                            context, options.threads));
  int windows = static_cast<int>(tokens.size() / context);
  if (options.windows > 0) windows = std::min(windows, options.windows);
  ProgressBar bar("scoring", std::max(windows, 1), "windows");
  return WindowPerplexity(*scorer, tokens, context, options.windows,
                          [&](int done) { bar.SetDone(done); });
}

absl::StatusOr<Perplexity> ScoreDocuments(const EvalOptions& options,
                                          const Tokenizer& tokenizer,
                                          LlamaModel& model, Backend& backend) {
  if (!tokenizer.bos_id().has_value()) {
    return absl::FailedPreconditionError(
        "--documents needs a tokenizer with a BOS token");
  }
  ASSIGN_OR_RETURN(
      const std::vector<std::vector<TokenId>> documents,
      ReadDocuments(options.documents, options.windows, tokenizer));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<LikelihoodScorer> scorer,
      LikelihoodScorer::Create(model, backend, options.bits,
                               model.max_context_tokens(), options.threads));
  ProgressBar bar("scoring", std::max<size_t>(documents.size(), 1),
                  "documents");
  return DocumentPerplexity(*scorer, documents, *tokenizer.bos_id(),
                            [&](int done) { bar.SetDone(done); });
}

absl::Status Run(const EvalOptions& options) {
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Backend> backend,
      CreateCpuBackend({.threads = options.threads, .mode = options.compute}));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   Tokenizer::Load(options.model));
  ASSIGN_OR_RETURN(const std::unique_ptr<LlamaModel> model,
                   LoadModel(options, *backend));
  ASSIGN_OR_RETURN(const Perplexity result,
                   options.text.empty()
                       ? ScoreDocuments(options, *tokenizer, *model, *backend)
                       : ScoreText(options, *tokenizer, *model, *backend));
  if (options.json) {
    const nlohmann::json json = {{"perplexity", result.perplexity},
                                 {"tokens", result.tokens},
                                 {"windows", result.windows},
                                 {"bits", options.bits}};
    std::printf("%s\n", json.dump().c_str());
  } else {
    absl::PrintF("perplexity %.4f at %d bits over %d tokens in %d %s\n",
                 result.perplexity, options.bits, result.tokens, result.windows,
                 options.text.empty() ? "documents" : "windows");
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(anyprec::kUsage);
  absl::FlagsUsageConfig usage;
  usage.contains_help_flags = [](absl::string_view file) {
    return absl::EndsWith(file, "eval/main.cc");
  };
  absl::SetFlagsUsageConfig(usage);
  const absl::StatusOr<anyprec::EvalOptions> options =
      anyprec::ParseOptions(absl::ParseCommandLine(argc, argv));
  if (!options.ok()) {
    std::fprintf(stderr, "anyprec-eval: %s\n%s\n",
                 std::string(options.status().message()).c_str(),
                 anyprec::kUsage);
    return anyprec::kExitUsage;
  }
  if (const absl::Status status = anyprec::Run(*options); !status.ok()) {
    std::fprintf(stderr, "anyprec-eval: %s\n",
                 std::string(status.message()).c_str());
    return anyprec::kExitFailure;
  }
  return 0;
}
