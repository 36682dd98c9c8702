// anyprec-eval: measures what a precision costs in quality.
//
//   anyprec-eval perplexity --model=DIR --bits=4 --text=FILE --context=2048
//   anyprec-eval perplexity --model=DIR --bits=4 --documents=FILE.jsonl
//
// Exit codes: 0 done, 1 failed, 2 for wrong flags.

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "runtime/command_line/flag_set.h"
#include "runtime/command_line/run_program.h"
#include "runtime/format/json_lines.h"
#include "runtime/format/mapped_file.h"
#include "runtime/model/llama_model.h"
#include "runtime/progress/progress_bar.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/eval/perplexity.h"

namespace anyprec {
namespace {

constexpr char kUsage[] =
    "Usage: anyprec-eval perplexity --model=DIR --bits=4 --text=FILE\n"
    "           [--context=2048] [--windows=20]\n"
    "       anyprec-eval perplexity --model=DIR --bits=4 "
    "--documents=FILE.jsonl\n"
    "       anyprec-eval perplexity --model=CHECKPOINT|FILE.gguf --bits=16 "
    "...\n"
    "\n"
    "Measures the perplexity of a model.\n";

struct EvalOptions {
  std::string model;
  int bits = kUnquantizedBits;
  std::string text;
  std::string documents;
  int context = 0;
  int windows = 0;
  std::string compute = "fp32";
  int threads = 0;
  bool json = false;
  bool help = false;
};

// The flags, bound to `options`, which must outlive them.
FlagSet EvalFlags(EvalOptions& options) {
  FlagSet flags;
  flags.Add("model", &options.model,
            "Parent model folder, or for --bits=16 a HuggingFace folder or "
            "GGUF file.");
  flags.Add("bits", &options.bits,
            "Precision; 16 is the unquantized checkpoint in fp32.");
  flags.Add("text", &options.text, "Text file to score as one token stream.");
  flags.Add("documents", &options.documents,
            "JSON lines file; the \"text\" of each line is scored alone, a "
            "BOS token before it.");
  flags.Add("context", &options.context,
            "Tokens per window of --text; 0: the model's context, at most "
            "2048.");
  flags.Add("windows", &options.windows,
            "Score only the first windows or documents; 0: all.");
  flags.Add("compute", &options.compute,
            "Arithmetic: fp32 is exact, int16 the server's default.",
            {"fp32", "int16"});
  flags.Add("threads", &options.threads, "Threads; 0: one for each core.");
  flags.Add("json", &options.json, "Print one JSON object.");
  flags.Add("help", &options.help, "Print this and exit.");
  return flags;
}

absl::StatusOr<EvalOptions> ParseOptions(
    const std::vector<std::string>& arguments) {
  EvalOptions options;
  ASSIGN_OR_RETURN(const std::vector<std::string> positional,
                   EvalFlags(options).Parse(arguments));
  if (options.help) return options;
  if (positional != std::vector<std::string>{"perplexity"}) {
    return absl::InvalidArgumentError(
        "one command is needed: anyprec-eval perplexity");
  }
  if (options.model.empty()) {
    return absl::InvalidArgumentError("--model is needed");
  }
  if (options.text.empty() && options.documents.empty()) {
    return absl::InvalidArgumentError("--text or --documents is needed");
  }
  if (!options.text.empty() && !options.documents.empty()) {
    return absl::InvalidArgumentError(
        "--text and --documents exclude each other");
  }
  if (options.context != 0 && options.text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--context is ", options.context,
                     ", which windows of --text have; --documents are scored "
                     "whole"));
  }
  if (options.bits != kUnquantizedBits &&
      (options.bits < kMinBits || options.bits > kMaxBits)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--bits is ", options.bits, ", must be in [", kMinBits,
                     ", ", kMaxBits, "], or 16 for a checkpoint"));
  }
  RETURN_IF_ERROR(CheckFlagRange("windows", options.windows, 0, 1 << 30));
  if (options.context != 0) {
    RETURN_IF_ERROR(CheckFlagRange("context", options.context, 2, 1 << 24));
  }
  RETURN_IF_ERROR(CheckFlagRange("threads", options.threads, 0, 1024));
  return options;
}

// `status` with "where: " before its message.
absl::Status At(absl::string_view where, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(where, ": ", status.message()));
}

absl::StatusOr<std::vector<Document>> ReadDocuments(
    const std::string& path, int limit, const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(JsonLines lines, JsonLines::Open(path));
  std::vector<Document> documents;
  while (limit == 0 || static_cast<int>(documents.size()) < limit) {
    ASSIGN_OR_RETURN(const bool more, lines.Next());
    if (!more) break;
    auto tokens = tokenizer.Encode(lines.text(), {.add_special = false});
    if (!tokens.ok()) return At(lines.where(), tokens.status());
    documents.push_back({lines.where(), *std::move(tokens)});
  }
  return documents;
}

// What is to be scored: one of the two.
struct Input {
  std::vector<TokenId> text;
  std::vector<Document> documents;
};

absl::StatusOr<Input> ReadInput(const EvalOptions& options,
                                const Tokenizer& tokenizer) {
  Input input;
  if (options.text.empty()) {
    if (!tokenizer.bos_id().has_value()) {
      return absl::FailedPreconditionError(
          "--documents needs a tokenizer with a BOS token");
    }
    ASSIGN_OR_RETURN(
        input.documents,
        ReadDocuments(options.documents, options.windows, tokenizer));
    return input;
  }
  ASSIGN_OR_RETURN(const std::string text,
                   ReadSmallFile(options.text, kMaxTextBytes));
  ASSIGN_OR_RETURN(input.text, tokenizer.Encode(text, {.add_special = true}));
  std::fprintf(stderr, "%s: %zu tokens\n", options.text.c_str(),
               input.text.size());
  return input;
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
                                     std::span<const TokenId> tokens,
                                     LlamaModel& model, Backend& backend) {
  constexpr int kUsualContext = 2048;  // of published WikiText-2 figures
  const int context = options.context > 0
                          ? options.context
                          : std::min(kUsualContext, model.max_context_tokens());
  ASSIGN_OR_RETURN(const std::unique_ptr<LikelihoodScorer> scorer,
                   LikelihoodScorer::Create(model, backend, options.bits,
                                            context, options.threads));
  int windows = static_cast<int>(tokens.size() / context);
  if (options.windows > 0) windows = std::min(windows, options.windows);
  ProgressBar bar("scoring", std::max(windows, 1), "windows");
  absl::StatusOr<Perplexity> result =
      WindowPerplexity(*scorer, tokens, context, options.windows,
                       [&](int done) { bar.SetDone(done); });
  if (!result.ok()) return At(options.text, result.status());
  return result;
}

absl::StatusOr<Perplexity> ScoreDocuments(
    const EvalOptions& options, const std::vector<Document>& documents,
    TokenId bos, LlamaModel& model, Backend& backend) {
  ASSIGN_OR_RETURN(
      const std::unique_ptr<LikelihoodScorer> scorer,
      LikelihoodScorer::Create(model, backend, options.bits,
                               model.max_context_tokens(), options.threads));
  ProgressBar bar("scoring", std::max<size_t>(documents.size(), 1),
                  "documents");
  return DocumentPerplexity(*scorer, documents, bos,
                            [&](int done) { bar.SetDone(done); });
}

absl::Status Run(const EvalOptions& options) {
  const ComputeMode mode =
      options.compute == "int16" ? ComputeMode::kInt16 : ComputeMode::kFloat32;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Backend> backend,
      CreateCpuBackend({.threads = options.threads, .mode = mode}));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   Tokenizer::Load(options.model));
  // Before a large model is loaded in vain.
  ASSIGN_OR_RETURN(const Input input, ReadInput(options, *tokenizer));
  ASSIGN_OR_RETURN(const std::unique_ptr<LlamaModel> model,
                   LoadModel(options, *backend));
  ASSIGN_OR_RETURN(const Perplexity result,
                   options.text.empty()
                       ? ScoreDocuments(options, input.documents,
                                        *tokenizer->bos_id(), *model, *backend)
                       : ScoreText(options, input.text, *model, *backend));
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

int Main(const std::vector<std::string>& arguments) {
  const absl::StatusOr<EvalOptions> options = ParseOptions(arguments);
  if (!options.ok()) {
    std::fprintf(stderr, "anyprec-eval: %s\nTry --help.\n",
                 std::string(options.status().message()).c_str());
    return kExitWrongFlags;
  }
  if (options->help) {
    EvalOptions defaults;
    absl::PrintF("%s\nFlags:\n%s", kUsage, EvalFlags(defaults).Help());
    return kExitDone;
  }
  const absl::Status status = Run(*options);
  if (status.ok()) return kExitDone;
  std::fprintf(stderr, "anyprec-eval: %s\n",
               std::string(status.message()).c_str());
  return kExitFailed;
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  return anyprec::RunProgram("anyprec-eval", [&] {
    return anyprec::Main(std::vector<std::string>(argv + 1, argv + argc));
  });
}
