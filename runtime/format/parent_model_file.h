// Reader of a parent model folder (FORMAT.md): one n-bit model as bit planes,
// codebooks or scales for every precision, and the layers that are not
// quantized.
//
// Guarantees
//   1. Planes, codebooks and scales above `max_bits` are never touched: neither
//      read nor made resident.
//   2. What a Load call returns has the shape that config.json implies, matches
//      its checksum, and means weights that are finite and within fp16's range.
//   3. Nothing of the input can abort the process; every error names file and
//      tensor, the value found and the value needed.
//
// Thread-safe once open: layers may be loaded from several threads.
#ifndef ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_FILE_H_
#define ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"
#include "kernels/bit_plane.h"
#include "runtime/format/parent_model_layout.h"
#include "runtime/format/safetensors_folder.h"
#include "runtime/format/tensor.h"
#include "runtime/model/model_config.h"

namespace anyprec {

// One linear layer of a parent model: views into the file's mapping, planes on
// 64-byte boundaries (copied into `storage` where the file has them elsewhere).
// Must not outlive its ParentModelFile.
struct QuantizedTensor {
  int n = 0;                            // output features (rows)
  int k = 0;                            // input features (columns)
  std::vector<const uint32_t*> planes;  // most significant first; max_bits()
  // One of the two, as the scheme has it; seed_bits() .. max_bits().
  std::vector<Codebook> codebooks;
  std::vector<GroupScales> scales;
  AlignedBytes storage;

  // Valid while this object is, and is not moved from.
  QuantizedLinear View() const { return {{planes, n, k}, codebooks, scales}; }
};

class ParentModelFile {
 public:
  struct OpenOptions {
    // Highest precision that will be asked for; the parent's own where larger.
    int max_bits = kMaxBits;
    // Checking costs one pass over what is loaded, at several GB/s. Without it
    // damage on disk turns into wrong text.
    bool verify_checksums = true;
  };

  // Checks config.json and that every tensor of the model is there with the
  // right type and shape; reads no weights. INVALID_ARGUMENT where max_bits is
  // below the seed's bits, or where the folder holds an unquantized model.
  static absl::StatusOr<std::unique_ptr<ParentModelFile>> Open(
      const std::string& directory, const OpenOptions& options);

  const std::string& path() const { return path_; }
  const ModelConfig& config() const { return config_; }
  int seed_bits() const { return config_.quantization->seed_bits; }
  int parent_bits() const { return config_.quantization->parent_bits; }
  // The highest precision at hand: min(options.max_bits, parent_bits()).
  int max_bits() const { return max_bits_; }

  // A quantized layer, by its name without suffix:
  // "model.layers.0.self_attn.q_proj". DATA_LOSS names tensor and plane.
  absl::StatusOr<QuantizedTensor> LoadLinear(absl::string_view name) const;

  // A layer that is not quantized: "model.embed_tokens.weight",
  // "model.norm.weight", "model.layers.0.input_layernorm.weight",
  // "lm_head.weight" (kI8 where config().quantization->lm_head is "int8", the
  // embedding's tensor where the two are tied and it is not), and
  // "lm_head.scale" (kF32, [vocab_size]).
  absl::StatusOr<DenseTensor> LoadDense(absl::string_view name) const;

  // Gives back the resident pages of a layer that was copied; views of it stay
  // readable.
  void Release(absl::string_view name) const;

 private:
  ParentModelFile(std::string path, ModelConfig config, int max_bits,
                  bool verify_checksums,
                  std::unique_ptr<SafetensorsFolder> tensors);
  absl::Status CheckTensors();
  absl::Status VerifyPart(const SafetensorsFolder::Entry& entry, int part,
                          int parts) const;

  const std::string path_;
  const ModelConfig config_;
  const int max_bits_;
  const bool verify_checksums_;
  const std::unique_ptr<SafetensorsFolder> tensors_;
  // What CheckTensors() has seen; a file may hold more, which is never loaded.
  absl::flat_hash_map<std::string, LinearSpec> linears_;
  absl::flat_hash_set<std::string> dense_names_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_FILE_H_
