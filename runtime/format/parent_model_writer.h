// Writer of a parent model folder (FORMAT.md), layer by layer, resumable.
//
// Until Finish() everything lies in PartialFolder(output), with a journal of
// the layers committed; a writer that opens the same output again, with the
// same config and fingerprint, continues after the last of them. The finished
// folder has the same bytes whether the work was interrupted or not; the model
// appears in it complete, see parent_model_folder.h. Memory: what the caller
// passes.
//
//   ASSIGN_OR_RETURN(auto writer, ParentModelWriter::Open(output, config, {}));
//   for (int layer = 0; layer < config.num_layers; ++layer) {
//     if (writer->IsCommitted(layer)) continue;
//     ... WriteLinear x 7, WriteDense x 2 (the norms)
//     RETURN_IF_ERROR(writer->CommitLayer(layer, note));
//   }
//   if (!writer->IsCommitted(config.num_layers)) {   // what is in no layer
//     ... WriteDense("model.embed_tokens.weight", ...), "model.norm.weight",
//         "lm_head.weight", "lm_head.scale" as DenseTensorSpecs() lists them
//     RETURN_IF_ERROR(writer->CommitLayer(config.num_layers, ""));
//   }
//   RETURN_IF_ERROR(writer->CopyTokenizer(checkpoint));
//   RETURN_IF_ERROR(writer->Finish());
//
// Thread-compatible.
#ifndef ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_WRITER_H_
#define ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"
#include "kernels/types.h"
#include "runtime/format/checkpoint.h"
#include "runtime/format/parent_model_layout.h"
#include "runtime/format/safetensors_writer.h"
#include "runtime/format/tensor.h"
#include "runtime/model/model_config.h"

namespace anyprec {

class ParentModelWriter {
 public:
  struct Options {
    // Whatever else the result depends on: the input's identity, a hash of the
    // calibration text. A partial folder of another fingerprint is discarded.
    std::string fingerprint;
    // The checkpoint's own config.json, whose other fields are kept; empty for
    // one made from `config` alone.
    std::string original_config_json;
    // HuggingFace's default.
    int64_t max_shard_bytes = 5'000'000'000;
    // Finish() replaces a parent model that is there. Files that are none of a
    // parent model's stay.
    bool overwrite = false;
  };

  // REQUIRES: `config` is valid and has `quantization`.
  // ALREADY_EXISTS as CheckParentModelOutput();
  // INVALID_ARGUMENT where a layer's k is not a multiple of 32, or seed_bits <=
  // parent_bits within [kMinBits, kMaxBits] does not hold; UNAVAILABLE where
  // another process is writing the same output.
  static absl::StatusOr<std::unique_ptr<ParentModelWriter>> Open(
      const std::string& output, const ModelConfig& config, Options options);

  ~ParentModelWriter();
  ParentModelWriter(const ParentModelWriter&) = delete;
  ParentModelWriter& operator=(const ParentModelWriter&) = delete;

  // Whether a partial folder was there that did not belong to this model, and
  // is gone.
  bool discarded_earlier_run() const { return discarded_earlier_run_; }

  // Whether `layer` was committed, in this run or an earlier one. Layer
  // num_layers stands for the tensors that are in no layer.
  bool IsCommitted(int layer) const { return notes_.contains(layer); }
  // The note that came with it: lets a resumed run report on all layers.
  const std::string& Note(int layer) const { return notes_.at(layer); }

  // All of a layer: parent_bits planes [n, k / 32], and codebooks or scales of
  // seed_bits .. parent_bits, as the config's scheme has them.
  // INVALID_ARGUMENT for another shape than the config's; DATA_LOSS for a value
  // that is not finite, or scales that mean a weight beyond fp16.
  absl::Status WriteLinear(absl::string_view name,
                           const QuantizedLinear& linear);

  // A tensor of DenseTensorSpecs(config), whole or, in order, piece by piece.
  // `values` are converted to the type of the file, kF16 or kF32;
  // INVALID_ARGUMENT where one is not finite there.
  // REQUIRES: no more values than the shape has.
  absl::Status WriteDense(absl::string_view name,
                          std::span<const float> values);
  // The same for a tensor of type kI8.
  absl::Status WriteInt8(absl::string_view name,
                         std::span<const int8_t> values);

  // Makes the layer survive a crash. FAILED_PRECONDITION names a tensor of the
  // layer that was not written. `note` is one line of text.
  absl::Status CommitLayer(int layer, absl::string_view note);

  // See CopyTokenizerFiles().
  absl::Status CopyTokenizer(const Checkpoint& checkpoint);

  // Writes config.json, completes the tensors and puts the model in its place.
  // FAILED_PRECONDITION names a layer that was not committed.
  absl::Status Finish();

 private:
  ParentModelWriter(std::string output, ModelConfig config, Options options);
  absl::Status OpenJournal();
  // False where the line cannot be trusted.
  bool ReplayLine(absl::string_view line);
  absl::Status StartAfresh();
  absl::Status AppendToJournal(absl::string_view line);
  absl::StatusOr<std::string> ConfigJson() const;
  absl::Status CheckAllCommitted() const;
  absl::Status MoveIntoOutput();
  absl::Status RenameToOutput();
  absl::Status WriteHalves(const TensorInfo& info,
                           std::span<const Float16> values);
  // Names of all tensors of a layer.
  std::vector<std::string> TensorNames(int layer) const;

  const std::string output_;
  const std::string partial_;
  const bool in_place_;  // partial_ is in output_, not beside it
  const ModelConfig config_;
  const Options options_;
  int journal_ = -1;  // file descriptor, locked against other processes
  uint64_t journal_bytes_ = 0;
  bool discarded_earlier_run_ = false;
  // An earlier run was killed while it moved the finished files.
  bool moving_ = false;
  std::unique_ptr<SafetensorsWriter> tensors_;      // null where moving_
  std::map<int, std::string> notes_;                // of committed layers
  absl::flat_hash_map<std::string, DType> dtypes_;  // of dense tensors
  absl::flat_hash_map<std::string, LinearSpec> linears_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_WRITER_H_
