// From an unquantized checkpoint to a parent model folder, layer by layer.
//
// Guarantees
//   1. The same input, sensitivity and options give the same bytes, whatever
//      the number of threads and however often the work was interrupted.
//   2. Memory: the largest tensor in fp32, what it is quantized to, and its
//      sample weights; beyond that, what the sensitivity source holds.
//   3. A model appears in the output complete or not at all; an interrupted run
//      continues after the last finished decoder block.
#ifndef ANYPREC_QUANTIZE_PIPELINE_H_
#define ANYPREC_QUANTIZE_PIPELINE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/cpu/thread_pool.h"
#include "quantize/linear_quantizer.h"
#include "quantize/row_quantizer.h"
#include "quantize/sensitivity.h"
#include "runtime/format/checkpoint.h"

namespace anyprec {

enum class LmHeadType { kFloat16, kInt8 };

struct PipelineOptions {
  std::string output;  // folder, see CheckParentModelOutput()
  RowFormat format;
  LmHeadType lm_head = LmHeadType::kFloat16;
  // Replaces a parent model at `output`, once the new one is complete.
  bool overwrite = false;
  bool show_progress = true;
};

struct PipelineReport {
  RowFormat format;
  QuantizationTotals totals;  // all layers, earlier runs' included
  double wall_seconds = 0;    // this run
  int layers = 0;
  int layers_resumed = 0;  // finished by an earlier run

  // Planes and codebooks or scales of one precision alone, per quantized
  // weight.
  double BitsPerWeight(int precision) const;
  // Planes and codebooks or scales of all precisions, per quantized weight.
  double BitsPerWeightStored() const;
  // Weighted squared error of a precision over the weighted squared norm, rows
  // weighted alike.
  double RelativeError(int precision) const;
};

// Errors of the checkpoint, the source and the writer as they come, each naming
// the tensor or file.
absl::StatusOr<PipelineReport> QuantizeCheckpoint(
    const Checkpoint& checkpoint, SensitivitySource& sensitivity,
    const PipelineOptions& options, ThreadPool& pool);

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_PIPELINE_H_
