#include "quantize/pipeline.h"

#include <algorithm>
#include <cstddef>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/bit_plane.h"
#include "kernels/status_macros.h"
#include "quantize/fingerprint.h"
#include "quantize/int8_rows.h"
#include "runtime/format/mapped_file.h"
#include "runtime/format/parent_model_layout.h"
#include "runtime/format/parent_model_writer.h"
#include "runtime/format/tensor.h"
#include "runtime/model/model_config.h"
#include "runtime/progress/progress_bar.h"

namespace anyprec {
namespace {

// Changes whenever the same input would give other bytes.
constexpr char kToolVersion[] = "1";

// config.json files are a few kB.
constexpr size_t kMaxConfigBytes = 16 << 20;

// Totals as the note of a committed layer, so that a resumed run reports on all
// layers: numbers that read back exactly.
std::string TotalsToNote(const QuantizationTotals& totals) {
  std::string note =
      absl::StrFormat("%d %d %.17g %.17g", totals.weights, totals.stored_values,
                      totals.core_seconds, totals.error.squared_norm);
  for (const double error : totals.error.squared_error) {
    absl::StrAppendFormat(&note, " %.17g", error);
  }
  return note;
}

absl::StatusOr<QuantizationTotals> NoteToTotals(absl::string_view note) {
  QuantizationTotals totals;
  const std::vector<absl::string_view> fields = absl::StrSplit(note, ' ');
  bool valid = fields.size() == 4 + totals.error.squared_error.size() &&
               absl::SimpleAtoi(fields[0], &totals.weights) &&
               absl::SimpleAtoi(fields[1], &totals.stored_values) &&
               absl::SimpleAtod(fields[2], &totals.core_seconds) &&
               absl::SimpleAtod(fields[3], &totals.error.squared_norm);
  for (size_t i = 4; valid && i < fields.size(); ++i) {
    valid = absl::SimpleAtod(fields[i], &totals.error.squared_error[i - 4]);
  }
  if (!valid) {
    return absl::DataLossError(
        absl::StrCat("note of a finished layer is malformed: \"", note,
                     "\"; delete the .partial folder to start afresh"));
  }
  return totals;
}

int64_t QuantizedWeights(const ModelConfig& config, int layer) {
  int64_t weights = 0;
  for (const LinearSpec& spec : LinearSpecs(config, layer)) {
    weights += static_cast<int64_t>(spec.n) * spec.k;
  }
  return weights;
}

// One run: the writer, and what feeds it.
class Pipeline {
 public:
  Pipeline(const Checkpoint& checkpoint, SensitivitySource& sensitivity,
           const PipelineOptions& options, ThreadPool& pool)
      : checkpoint_(checkpoint),
        sensitivity_(sensitivity),
        options_(options),
        quantizer_(options.format, pool),
        config_(checkpoint.config()) {
    const RowFormat& format = options.format;
    config_.quantization = QuantizationConfig{
        .scheme = format.scheme == Scheme::kCodebooks ? "iu" : "bcq",
        .seed_bits = format.range.seed_bits,
        .parent_bits = format.range.parent_bits,
        .group_size = format.group_size,
        .sensitivity = std::string(sensitivity.name()),
        .lm_head = options.lm_head == LmHeadType::kInt8 ? "int8" : "fp16",
        .tool_version = kToolVersion};
  }

  absl::StatusOr<PipelineReport> Run();

 private:
  absl::Status OpenWriter();
  void StartProgress();
  absl::StatusOr<QuantizationTotals> QuantizeLayer(int layer);
  absl::Status WriteDenseTensors(int layer);
  absl::Status WriteInt8LmHead(const std::vector<int64_t>& shape);

  const Checkpoint& checkpoint_;
  SensitivitySource& sensitivity_;
  const PipelineOptions& options_;
  LinearQuantizer quantizer_;
  ModelConfig config_;
  std::unique_ptr<ParentModelWriter> writer_;
  std::optional<ProgressBar> progress_;
};

absl::StatusOr<PipelineReport> Pipeline::Run() {
  const absl::Time start = absl::Now();
  RETURN_IF_ERROR(OpenWriter());
  PipelineReport report = {.format = options_.format,
                           .layers = config_.num_layers};
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    QuantizationTotals totals;
    if (writer_->IsCommitted(layer)) {
      ASSIGN_OR_RETURN(totals, NoteToTotals(writer_->Note(layer)));
      ++report.layers_resumed;
    } else {
      ASSIGN_OR_RETURN(totals, QuantizeLayer(layer));
      RETURN_IF_ERROR(WriteDenseTensors(layer));
      RETURN_IF_ERROR(writer_->CommitLayer(layer, TotalsToNote(totals)));
    }
    report.totals.Add(totals);
  }
  progress_.reset();
  // What is in no layer.
  if (!writer_->IsCommitted(config_.num_layers)) {
    RETURN_IF_ERROR(WriteDenseTensors(config_.num_layers));
    RETURN_IF_ERROR(writer_->CommitLayer(config_.num_layers, ""));
  }
  RETURN_IF_ERROR(writer_->CopyTokenizer(checkpoint_));
  RETURN_IF_ERROR(writer_->Finish());
  report.wall_seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return report;
}

absl::Status Pipeline::OpenWriter() {
  ParentModelWriter::Options writer_options;
  ASSIGN_OR_RETURN(const std::string input,
                   PathFingerprint(checkpoint_.path()));
  writer_options.overwrite = options_.overwrite;
  writer_options.fingerprint =
      absl::StrCat(input, "-", sensitivity_.fingerprint());
  if (checkpoint_.gguf() == nullptr) {
    ASSIGN_OR_RETURN(
        writer_options.original_config_json,
        ReadSmallFile(absl::StrCat(checkpoint_.path(), "/config.json"),
                      kMaxConfigBytes));
  }
  ASSIGN_OR_RETURN(writer_, ParentModelWriter::Open(options_.output, config_,
                                                    std::move(writer_options)));
  if (options_.show_progress && writer_->discarded_earlier_run()) {
    std::cerr << options_.output
              << ": discarded what an earlier run with another input or other "
                 "settings had finished\n";
  }
  return absl::OkStatus();
}

// After the sensitivities have been measured, which has a bar of its own.
void Pipeline::StartProgress() {
  if (!options_.show_progress || progress_.has_value()) return;
  double total = 0, done = 0;
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    const double weights = 1e-6 * QuantizedWeights(config_, layer);
    total += weights;
    if (writer_->IsCommitted(layer)) done += weights;
  }
  progress_.emplace("quantizing", total, "Mweights");
  progress_->Skip(done);
}

absl::StatusOr<QuantizationTotals> Pipeline::QuantizeLayer(int layer) {
  QuantizationTotals totals;
  for (const LinearSpec& spec : LinearSpecs(config_, layer)) {
    ASSIGN_OR_RETURN(const SampleWeights sample_weights,
                     sensitivity_.WeightsFor(spec.name, spec.n, spec.k));
    StartProgress();
    const std::string name = absl::StrCat(spec.name, ".weight");
    ASSIGN_OR_RETURN(
        const std::vector<float> weights,
        checkpoint_.ReadFloat(name, std::vector<int64_t>{spec.n, spec.k}));
    checkpoint_.Release(name);
    const auto on_rows = [&](int rows) {
      if (progress_.has_value()) progress_->Advance(1e-6 * rows * spec.k);
    };
    ASSIGN_OR_RETURN(const LinearPlanes planes,
                     quantizer_.Quantize(
                         absl::StrCat(checkpoint_.path(), ": ", name), weights,
                         spec.n, spec.k, sample_weights, on_rows, totals));
    RETURN_IF_ERROR(writer_->WriteLinear(spec.name, planes.View()));
  }
  return totals;
}

absl::Status Pipeline::WriteDenseTensors(int layer) {
  for (const TensorInfo& spec : DenseTensorSpecs(config_, layer)) {
    if (spec.name == "lm_head.scale") continue;  // comes with lm_head.weight
    if (spec.dtype == DType::kI8) {
      RETURN_IF_ERROR(WriteInt8LmHead(spec.shape));
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<float> values,
                     checkpoint_.ReadFloat(spec.name, spec.shape));
    checkpoint_.Release(spec.name);
    RETURN_IF_ERROR(writer_->WriteDense(spec.name, values));
  }
  return absl::OkStatus();
}

absl::Status Pipeline::WriteInt8LmHead(const std::vector<int64_t>& shape) {
  // The embedding, where the two are tied.
  ASSIGN_OR_RETURN(const std::vector<float> weights,
                   checkpoint_.ReadFloat("lm_head.weight", shape));
  checkpoint_.Release("lm_head.weight");
  std::vector<int8_t> values(weights.size());
  std::vector<float> scales(shape[0]);
  QuantizeRowsToInt8(weights, values, scales);
  RETURN_IF_ERROR(writer_->WriteInt8("lm_head.weight", values));
  return writer_->WriteDense("lm_head.scale", scales);
}

}  // namespace

double PipelineReport::BitsPerWeight(int precision) const {
  // Of every row or group alike.
  size_t of_all = 0;
  for (int p = format.range.seed_bits; p <= format.range.parent_bits; ++p) {
    of_all += format.ValuesOf(p);
  }
  const double share = static_cast<double>(format.ValuesOf(precision)) /
                       static_cast<double>(of_all);
  return precision + 16.0 * share * static_cast<double>(totals.stored_values) /
                         static_cast<double>(totals.weights);
}

double PipelineReport::BitsPerWeightStored() const {
  return format.range.parent_bits +
         16.0 * static_cast<double>(totals.stored_values) /
             static_cast<double>(totals.weights);
}

double PipelineReport::RelativeError(int precision) const {
  if (totals.error.squared_norm == 0) return 0;  // a model of zeros
  return totals.error.squared_error[precision - format.range.seed_bits] /
         totals.error.squared_norm;
}

absl::StatusOr<PipelineReport> QuantizeCheckpoint(
    const Checkpoint& checkpoint, SensitivitySource& sensitivity,
    const PipelineOptions& options, ThreadPool& pool) {
  return Pipeline(checkpoint, sensitivity, options, pool).Run();
}

}  // namespace anyprec
