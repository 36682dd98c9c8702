// anyprec-quantize: a checkpoint in, a parent model folder out. Flags become
// options here and nowhere else.
//
// Exit codes: 0 done, 1 failed, 2 for wrong flags.

#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/backend.h"
#include "kernels/bit_plane.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/status_macros.h"
#include "quantize/activation_sensitivity.h"
#include "quantize/calibration.h"
#include "quantize/file_sensitivity.h"
#include "quantize/pipeline.h"
#include "quantize/row_quantizer.h"
#include "quantize/sensitivity.h"
#include "runtime/command_line/flag_set.h"
#include "runtime/command_line/run_program.h"
#include "runtime/format/checkpoint.h"
#include "runtime/format/parent_model_folder.h"
#include "runtime/progress/progress_bar.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {
namespace {

constexpr char kUsage[] =
    "Usage: anyprec-quantize --input=DIR|FILE.gguf --output=DIR\n"
    "           [--sensitivity=activation --calibration=TEXT|FILE.jsonl]\n"
    "\n"
    "Quantizes a Llama-style checkpoint once, for all precisions. An "
    "interrupted run\n"
    "continues where it was when started again with the same flags.\n";

// The paper's.
constexpr int kDefaultGroupSize = 128;

struct Options {
  std::string input;
  std::string sensitivity = "activation";
  std::string sensitivity_file;
  CalibrationOptions calibration;
  std::string scheme = "iu";
  std::optional<int> group_size;
  std::string lm_head = "fp16";
  int threads = 0;
  PipelineOptions pipeline;
  bool help = false;
};

// The flags, bound to `options`, which must outlive them.
FlagSet QuantizeFlags(Options& options) {
  FlagSet flags;
  flags.Add("input", &options.input,
            "Checkpoint to quantize: a HuggingFace folder or a GGUF file.");
  flags.Add("output", &options.pipeline.output,
            "Folder for the parent model: a new or an empty one.");
  flags.Add("scheme", &options.scheme,
            "What the bits of a weight stand for. iu: an index into a codebook "
            "of its row, refined bit by bit (Any-Precision LLM). bcq: signs of "
            "scales of its group of columns (AnyBCQ).",
            {"iu", "bcq"});
  flags.Add("group_size", &options.group_size,
            absl::StrCat("For --scheme=bcq: columns that share scales, a "
                         "multiple of 32; by default ",
                         kDefaultGroupSize, "."));
  flags.Add("seed_bits", &options.pipeline.format.range.seed_bits,
            "Lowest precision of the parent model, 2 to parent_bits.");
  flags.Add("parent_bits", &options.pipeline.format.range.parent_bits,
            "Highest precision of the parent model, seed_bits to 8.");
  flags.Add("sensitivity", &options.sensitivity,
            "How much each weight matters: activation takes the mean square of "
            "its input over --calibration, and holds the unquantized model in "
            "memory while it measures.",
            {"activation", "uniform", "file"});
  flags.Add("sensitivity_file", &options.sensitivity_file,
            "For --sensitivity=file: safetensors with a tensor for each layer "
            "under the checkpoint's names, [n, k] or [k], such as squared "
            "gradients.");
  flags.Add("calibration", &options.calibration.path,
            "For --sensitivity=activation: a text, or a .jsonl file with an "
            "object with \"text\" on each line.");
  flags.Add("calibration_documents", &options.calibration.documents,
            "Use the first so many documents that are long enough (of a plain "
            "text: so many consecutive pieces).");
  flags.Add("calibration_tokens", &options.calibration.tokens,
            "Use the first so many tokens of a document; shorter documents are "
            "passed over. What the tokenizer puts before a text by default "
            "(BOS) counts.");
  flags.Add("lm_head", &options.lm_head,
            "int8 has one scale a row: half of what a small model reads to "
            "decode a token is lm_head.",
            {"fp16", "int8"});
  flags.Add("threads", &options.threads, "Threads; 0: one for each core.");
  flags.Add("overwrite", &options.pipeline.overwrite,
            "Replace a parent model at --output, once the new one is "
            "complete.");
  flags.Add("help", &options.help, "Print this and exit.");
  return flags;
}

absl::Status InvalidFlag(absl::string_view flag, absl::string_view value,
                         absl::string_view needed) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is \"", value, "\", needed is ", needed));
}

absl::Status ReadScheme(const Options& options, RowFormat& format) {
  if (options.scheme == "iu") {
    if (!options.group_size.has_value()) return absl::OkStatus();
    return InvalidFlag("group_size", absl::StrCat(*options.group_size),
                       "--scheme=bcq with it");
  }
  format.scheme = Scheme::kBinaryCoded;
  format.group_size = options.group_size.value_or(kDefaultGroupSize);
  if (format.group_size > 0 && format.group_size % 32 == 0) {
    return absl::OkStatus();
  }
  return InvalidFlag("group_size", absl::StrCat(format.group_size),
                     "a positive multiple of 32");
}

absl::Status CheckSensitivity(const Options& options) {
  const std::string& calibration = options.calibration.path;
  const bool activation = options.sensitivity == "activation";
  if (activation == calibration.empty()) {
    return InvalidFlag("calibration", calibration,
                       activation ? "a text file for --sensitivity=activation"
                                  : "--sensitivity=activation with it");
  }
  const bool file = options.sensitivity == "file";
  if (file == options.sensitivity_file.empty()) {
    return InvalidFlag(
        "sensitivity_file", options.sensitivity_file,
        file ? "a path for --sensitivity=file" : "--sensitivity=file with it");
  }
  RETURN_IF_ERROR(CheckFlagRange("calibration_documents",
                                 options.calibration.documents, 1, 1'000'000));
  return CheckFlagRange("calibration_tokens", options.calibration.tokens, 1,
                        1'000'000);
}

absl::StatusOr<Options> ParseOptions(
    const std::vector<std::string>& arguments) {
  Options options;
  ASSIGN_OR_RETURN(const std::vector<std::string> positional,
                   QuantizeFlags(options).Parse(arguments));
  if (options.help) return options;
  if (!positional.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("unexpected argument \"", positional[0],
                     "\"; all options are flags (--name=value)"));
  }
  if (options.input.empty()) return InvalidFlag("input", "", "a path");
  PipelineOptions& pipeline = options.pipeline;
  if (pipeline.output.empty()) return InvalidFlag("output", "", "a path");
  const auto& [seed_bits, parent_bits] = pipeline.format.range;
  RETURN_IF_ERROR(
      CheckFlagRange("parent_bits", parent_bits, kMinBits, kMaxBits));
  RETURN_IF_ERROR(
      CheckFlagRange("seed_bits", seed_bits, kMinBits, parent_bits));
  RETURN_IF_ERROR(ReadScheme(options, pipeline.format));
  RETURN_IF_ERROR(CheckSensitivity(options));
  RETURN_IF_ERROR(CheckFlagRange("threads", options.threads, 0, 1024));
  pipeline.lm_head =
      options.lm_head == "int8" ? LmHeadType::kInt8 : LmHeadType::kFloat16;
  return options;
}

// What measuring activations needs while the pipeline runs.
struct Calibration {
  std::unique_ptr<Backend> backend;
  // Made at the first report: a run that finds its cache shows no bar.
  std::optional<ProgressBar> bar;
};

absl::StatusOr<std::unique_ptr<SensitivitySource>> MakeActivationSensitivity(
    Options options, const Checkpoint& checkpoint, Calibration& calibration) {
  int& tokens = options.calibration.tokens;
  const int context = checkpoint.config().max_position_embeddings;
  if (tokens > context) {
    std::cerr << "calibration: --calibration_tokens is " << tokens
              << ", the model's context has " << context
              << ": sequences are cut to that\n";
    tokens = context;
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   Tokenizer::Load(options.input));
  ActivationSensitivity::Options measuring = {
      .checkpoint = options.input,
      .cache_path = WorkFolder(PartialFolder(options.pipeline.output))};
  ASSIGN_OR_RETURN(measuring.sequences,
                   ReadCalibration(options.calibration, *tokenizer));
  const int count = static_cast<int>(measuring.sequences.size());
  std::cerr << "calibration: " << count << " sequences of " << tokens
            << " tokens of " << options.calibration.path << "\n";
  measuring.progress = [&bar = calibration.bar, count](int done) {
    if (!bar.has_value()) bar.emplace("calibrating", count, "sequences");
    bar->SetDone(done);
    if (done == count) bar.reset();
  };
  ASSIGN_OR_RETURN(calibration.backend,
                   CreateCpuBackend({.threads = options.threads,
                                     .mode = ComputeMode::kFloat32}));
  return std::make_unique<ActivationSensitivity>(std::move(measuring),
                                                 *calibration.backend);
}

absl::StatusOr<std::unique_ptr<SensitivitySource>> MakeSensitivity(
    const Options& options, const Checkpoint& checkpoint,
    Calibration& calibration) {
  if (options.sensitivity == "uniform") {
    return std::make_unique<UniformSensitivity>();
  }
  if (options.sensitivity == "file") {
    return FileSensitivity::Open(options.sensitivity_file);
  }
  return MakeActivationSensitivity(options, checkpoint, calibration);
}

void PrintReport(const PipelineReport& report, int threads) {
  const bool codebooks = report.format.scheme == Scheme::kCodebooks;
  absl::PrintF("\nbits  bits/weight with %-8s  relative weighted error\n",
               codebooks ? "codebook" : "scales");
  const PrecisionRange& range = report.format.range;
  for (int p = range.seed_bits; p <= range.parent_bits; ++p) {
    absl::PrintF("%4d  %25.3f  %23.3e\n", p, report.BitsPerWeight(p),
                 report.RelativeError(p));
  }
  absl::PrintF("\nstored: %.3f bits/weight for all precisions together\n",
               report.BitsPerWeightStored());
  const double millions = 1e-6 * static_cast<double>(report.totals.weights);
  absl::PrintF(
      "time:   %.1f s with %d threads; %.2f Mweights in %.1f core "
      "seconds, %.2f Mweights/s/core\n",
      report.wall_seconds, threads, millions, report.totals.core_seconds,
      millions / report.totals.core_seconds);
  if (report.layers_resumed > 0) {
    absl::PrintF("resumed: %d of %d layers were finished by an earlier run\n",
                 report.layers_resumed, report.layers);
  }
}

absl::Status Run(const Options& options) {
  RETURN_IF_ERROR(CheckParentModelOutput(options.pipeline.output,
                                         options.pipeline.overwrite));
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint,
                   Checkpoint::Open(options.input));
  Calibration calibration;  // outlives the source that uses it
  ASSIGN_OR_RETURN(const std::unique_ptr<SensitivitySource> sensitivity,
                   MakeSensitivity(options, *checkpoint, calibration));
  ThreadPool pool({.threads = options.threads});
  ASSIGN_OR_RETURN(
      const PipelineReport report,
      QuantizeCheckpoint(*checkpoint, *sensitivity, options.pipeline, pool));
  PrintReport(report, pool.threads());
  return absl::OkStatus();
}

int Main(const std::vector<std::string>& arguments) {
  const absl::StatusOr<Options> options = ParseOptions(arguments);
  if (!options.ok()) {
    std::cerr << "anyprec-quantize: " << options.status().message()
              << "\nTry --help.\n";
    return kExitWrongFlags;
  }
  if (options->help) {
    Options defaults;
    absl::PrintF("%s\nFlags:\n%s", kUsage, QuantizeFlags(defaults).Help());
    return kExitDone;
  }
  const absl::Status status = Run(*options);
  if (status.ok()) return kExitDone;
  std::cerr << "anyprec-quantize: " << status.message() << "\n";
  return kExitFailed;
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  return anyprec::RunProgram("anyprec-quantize", [&] {
    return anyprec::Main(std::vector<std::string>(argv + 1, argv + argc));
  });
}
