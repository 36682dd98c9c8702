// An unquantized Llama-style model, wherever it comes from: a HuggingFace
// folder (config.json with model.safetensors, or model.safetensors.index.json
// and its shards) or a GGUF file.
//
// Tensors go by HuggingFace's names and layout ("model.layers.0.self_attn.
// q_proj.weight", [out, in]); GGUF's names and its permutation of the rows of q
// and k are undone. Where the embeddings are tied, either of
// "model.embed_tokens.weight" and "lm_head.weight" stands for the other. A
// folder whose names lack the prefix "model." is read as if they had it.
//
// Every message names the file and the tensor, the value found and the value
// needed. Thread-safe once open.
#ifndef ANYPREC_RUNTIME_FORMAT_CHECKPOINT_H_
#define ANYPREC_RUNTIME_FORMAT_CHECKPOINT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/format/gguf.h"
#include "runtime/format/mapped_file.h"
#include "runtime/format/tensor.h"
#include "runtime/model/model_config.h"

namespace anyprec {

class Checkpoint {
 public:
  // Opens headers only; tensors are read when asked for.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(
      const std::string& path);

  virtual ~Checkpoint() = default;

  // As the path says; `eos_token_ids` includes those of a
  // generation_config.json.
  const ModelConfig& config() const { return config_; }
  const std::string& path() const { return path_; }

  // The GGUF file behind this model, with its vocabulary; null for a folder.
  virtual const GgufFile* gguf() const = 0;

  // Null where the model has no such tensor. `name` of the result is the name
  // in the file, the shape HuggingFace's.
  const TensorInfo* Find(absl::string_view name) const;
  bool Has(absl::string_view name) const { return Find(name) != nullptr; }

  // A tensor in fp32, dequantized if need be.
  // NOT_FOUND, INVALID_ARGUMENT for another shape than `shape` or a type that
  // is no number format of ours, DATA_LOSS for values that are not finite
  // (naming the index of the first).
  absl::StatusOr<std::vector<float>> ReadFloat(
      absl::string_view name, std::span<const int64_t> shape) const;

  // A tensor as kF32, kF16 or kBF16, whichever the file holds; block types and
  // F64 become kF32. A view of the file where no conversion is needed, so that
  // a 16-bit model is served without growing. Errors as ReadFloat.
  absl::StatusOr<DenseTensor> ReadDense(absl::string_view name,
                                        std::span<const int64_t> shape) const;

  // Gives back the resident pages of a tensor that was copied.
  void Release(absl::string_view name) const;

 protected:
  // A tensor where the file has it.
  struct Source {
    const MappedFile* file = nullptr;
    const TensorInfo* info = nullptr;
    std::span<const std::byte> data;
    // Heads whose rows are interleaved as GGUF has them; 0: none.
    int interleaved_heads = 0;
  };

  Checkpoint(std::string path, ModelConfig config);

  // nullopt where the model has no such tensor.
  virtual std::optional<Source> Locate(absl::string_view name) const = 0;

 private:
  absl::StatusOr<Source> LocateForReading(absl::string_view name,
                                          std::span<const int64_t> shape) const;

  const std::string path_;
  const ModelConfig config_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_CHECKPOINT_H_
