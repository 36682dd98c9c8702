// anyprec-quantize: a checkpoint in, a parent model folder out. Flags become
// options here and nowhere else.
//
// Exit status: 0 done, 1 failed or a flag that does not parse, 2 called
// wrongly.

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
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
#include "quantize/sensitivity.h"
#include "runtime/format/checkpoint.h"
#include "runtime/progress/progress_bar.h"
#include "runtime/tokenizer/tokenizer.h"

ABSL_FLAG(std::string, input, "",
          "checkpoint to quantize: a HuggingFace folder or a GGUF file");
ABSL_FLAG(std::string, output, "", "parent model folder to create");
ABSL_FLAG(int, seed_bits, 3,
          "lowest precision of the parent model, 2 to parent_bits");
ABSL_FLAG(int, parent_bits, 8,
          "highest precision of the parent model, seed_bits to 8");
ABSL_FLAG(std::string, sensitivity, "activation",
          "how much each weight matters: \"activation\" (mean square of its "
          "input over --calibration; holds the unquantized model in memory "
          "while it measures), \"uniform\", or \"file\"");
ABSL_FLAG(std::string, sensitivity_file, "",
          "for --sensitivity=file: safetensors with a tensor for each layer "
          "under the checkpoint's names, [n, k] or [k], such as squared "
          "gradients");
ABSL_FLAG(std::string, calibration, "",
          "for --sensitivity=activation: a text, or a .jsonl file with an "
          "object with \"text\" on each line");
ABSL_FLAG(int, calibration_documents, 100,
          "use the first so many documents that are long enough (of a plain "
          "text: so many consecutive pieces)");
ABSL_FLAG(int, calibration_tokens, 512,
          "use the first so many tokens of a document; shorter documents are "
          "passed over. What the tokenizer puts before a text by default (BOS) "
          "counts");
ABSL_FLAG(std::string, lm_head, "fp16",
          "\"fp16\", or \"int8\" with one scale a row: half of what a small "
          "model reads to decode a token is lm_head");
ABSL_FLAG(int, threads, 0, "threads; 0: one for each core");
ABSL_FLAG(bool, overwrite, false, "replace a parent model at --output");

namespace anyprec {
namespace {

constexpr char kUsage[] =
    "Quantizes a Llama-style checkpoint once, for all precisions.\n"
    "\n"
    "  anyprec-quantize --input=DIR|FILE.gguf --output=DIR\n"
    "      [--sensitivity=activation --calibration=TEXT|FILE.jsonl]\n"
    "\n"
    "An interrupted run continues where it was when started again with the "
    "same flags.";

struct Options {
  std::string input;
  std::string sensitivity;
  std::string sensitivity_file;
  CalibrationOptions calibration;
  int threads = 0;
  PipelineOptions pipeline;
};

absl::Status InvalidFlag(absl::string_view flag, absl::string_view value,
                         absl::string_view needed) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is \"", value, "\", needed is ", needed));
}

absl::Status CheckRange(absl::string_view flag, int value, int low, int high) {
  if (low <= value && value <= high) return absl::OkStatus();
  return InvalidFlag(flag, absl::StrCat(value),
                     absl::StrCat("a number from ", low, " to ", high));
}

absl::StatusOr<Options> OptionsFromFlags() {
  Options options;
  options.input = absl::GetFlag(FLAGS_input);
  options.pipeline.output = absl::GetFlag(FLAGS_output);
  if (options.input.empty()) return InvalidFlag("input", "", "a path");
  if (options.pipeline.output.empty()) {
    return InvalidFlag("output", "", "a path");
  }
  // "parent/" would put what lies beside the folder into it.
  std::string& output = options.pipeline.output;
  while (output.size() > 1 && output.back() == '/') output.pop_back();
  const int seed_bits = absl::GetFlag(FLAGS_seed_bits);
  const int parent_bits = absl::GetFlag(FLAGS_parent_bits);
  RETURN_IF_ERROR(CheckRange("parent_bits", parent_bits, kMinBits, kMaxBits));
  RETURN_IF_ERROR(CheckRange("seed_bits", seed_bits, kMinBits, parent_bits));
  options.pipeline.range = {seed_bits, parent_bits};

  options.sensitivity = absl::GetFlag(FLAGS_sensitivity);
  options.sensitivity_file = absl::GetFlag(FLAGS_sensitivity_file);
  options.calibration = {
      .path = absl::GetFlag(FLAGS_calibration),
      .documents = absl::GetFlag(FLAGS_calibration_documents),
      .tokens = absl::GetFlag(FLAGS_calibration_tokens)};
  if (!options.calibration.path.empty() &&
      options.sensitivity != "activation") {
    return InvalidFlag("calibration", options.calibration.path,
                       "--sensitivity=activation with it");
  }
  if (!options.sensitivity_file.empty() && options.sensitivity != "file") {
    return InvalidFlag("sensitivity_file", options.sensitivity_file,
                       "--sensitivity=file with it");
  }
  if (options.sensitivity == "activation") {
    if (options.calibration.path.empty()) {
      return InvalidFlag("calibration", "",
                         "a text file for --sensitivity=activation");
    }
  } else if (options.sensitivity == "file") {
    if (options.sensitivity_file.empty()) {
      return InvalidFlag("sensitivity_file", "",
                         "a path for --sensitivity=file");
    }
  } else if (options.sensitivity != "uniform") {
    return InvalidFlag("sensitivity", options.sensitivity,
                       "one of activation, uniform, file");
  }
  RETURN_IF_ERROR(CheckRange("calibration_documents",
                             options.calibration.documents, 1, 1'000'000));
  RETURN_IF_ERROR(CheckRange("calibration_tokens", options.calibration.tokens,
                             1, 1'000'000));

  const std::string lm_head = absl::GetFlag(FLAGS_lm_head);
  if (lm_head != "fp16" && lm_head != "int8") {
    return InvalidFlag("lm_head", lm_head, "one of fp16, int8");
  }
  options.pipeline.lm_head =
      lm_head == "int8" ? LmHeadType::kInt8 : LmHeadType::kFloat16;
  options.threads = absl::GetFlag(FLAGS_threads);
  RETURN_IF_ERROR(CheckRange("threads", options.threads, 0, 1024));
  options.pipeline.overwrite = absl::GetFlag(FLAGS_overwrite);
  return options;
}

// What measuring activations needs while the pipeline runs.
struct Calibration {
  std::unique_ptr<Backend> backend;
  std::string cache_path;  // where measurements outlive an interrupted run
  // Made at the first report: a run that finds its cache shows no bar.
  std::optional<ProgressBar> bar;
};

absl::StatusOr<std::unique_ptr<SensitivitySource>> MakeActivationSensitivity(
    Options options, const Checkpoint& checkpoint, Calibration& calibration) {
  int& tokens = options.calibration.tokens;
  tokens = std::min(tokens, checkpoint.config().max_position_embeddings);
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   Tokenizer::Load(options.input));
  calibration.cache_path =
      absl::StrCat(options.pipeline.output, ".activations");
  ActivationSensitivity::Options measuring = {
      .checkpoint = options.input, .cache_path = calibration.cache_path};
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
  absl::PrintF("\nbits  bits/weight with codebook  relative weighted error\n");
  for (int p = report.range.seed_bits; p <= report.range.parent_bits; ++p) {
    absl::PrintF("%4d  %25.3f  %23.3e\n", p, report.BitsPerWeight(p),
                 report.RelativeError(p));
  }
  absl::PrintF("\nstored: %.3f bits/weight for all precisions together\n",
               report.BitsPerWeightStored());
  const double millions = 1e-6 * static_cast<double>(report.totals.weights);
  absl::PrintF(
      "time:   %.1f s with %d threads; clustering %.2f Mweights in %.1f core "
      "seconds, %.2f Mweights/s/core\n",
      report.wall_seconds, threads, millions, report.totals.core_seconds,
      millions / report.totals.core_seconds);
  if (report.layers_resumed > 0) {
    absl::PrintF("resumed: %d of %d layers were finished by an earlier run\n",
                 report.layers_resumed, report.layers);
  }
}

absl::Status Run(const Options& options) {
  RETURN_IF_ERROR(
      CheckOutput(options.pipeline.output, options.pipeline.overwrite));
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint,
                   Checkpoint::Open(options.input));
  Calibration calibration;  // outlives the source that uses it
  ASSIGN_OR_RETURN(const std::unique_ptr<SensitivitySource> sensitivity,
                   MakeSensitivity(options, *checkpoint, calibration));
  ThreadPool pool({.threads = options.threads});
  ASSIGN_OR_RETURN(
      const PipelineReport report,
      QuantizeCheckpoint(*checkpoint, *sensitivity, options.pipeline, pool));
  if (!calibration.cache_path.empty()) {
    ActivationSensitivity::RemoveCache(calibration.cache_path);
  }
  PrintReport(report, pool.threads());
  return absl::OkStatus();
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(anyprec::kUsage);
  absl::FlagsUsageConfig usage;
  usage.contains_help_flags = [](absl::string_view file) {
    return absl::EndsWith(file, "quantize/main.cc");
  };
  absl::SetFlagsUsageConfig(usage);
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    std::cerr << "anyprec-quantize: unexpected argument \"" << rest[1]
              << "\"\n";
    return 2;
  }
  const auto options = anyprec::OptionsFromFlags();
  if (!options.ok()) {
    std::cerr << "anyprec-quantize: " << options.status().message()
              << "; see --help\n";
    return 2;
  }
  const absl::Status status = anyprec::Run(*options);
  if (!status.ok()) {
    std::cerr << "anyprec-quantize: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
