// LlamaModel: a Llama-style decoder (Llama 1-3, Mistral, SmolLM2) on a Backend.
//
// Weights lie in the backend's memory once, whatever number of precisions is
// served from them. Thread-compatible: the engine's thread alone calls Forward.
#ifndef ANYPREC_RUNTIME_MODEL_LLAMA_MODEL_H_
#define ANYPREC_RUNTIME_MODEL_LLAMA_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"
#include "kernels/sampling.h"
#include "runtime/model/model_config.h"
#include "runtime/model/step_output.h"

namespace anyprec {

struct LoadOptions {
  int max_bits = kMaxBits;  // what is above is never read
  // Positions that the rotary table covers: the longest context to be served.
  // 0: the model's max_position_embeddings.
  int max_context_tokens = 0;
  // Called as layers arrive, with values in [0, 1].
  std::function<void(double)> progress = nullptr;
};

// One forward pass over the rows of several sequences.
struct StepInput {
  std::span<const int32_t> tokens;          // [rows]
  std::span<const SequenceRows> sequences;  // cover every row once, in order
  // Cover every row once, in order; those of decode rows come first.
  std::span<const RowGroup> groups;
  std::span<const int32_t> logit_rows;  // rows whose logits are wanted
  // From rows of which a token alone is wanted: their logits stay where the
  // backend has them. None is among logit_rows; both ascend by row.
  std::span<const TokenDraw> draws = {};
};

// Sees the input of every quantizable linear layer; what calibration needs.
class ActivationObserver {
 public:
  virtual ~ActivationObserver() = default;
  // `name` is the tensor's without ".weight": "model.layers.0.mlp.down_proj".
  // Layers that share their input (q, k, v; gate, up) are each reported.
  //   x  [rows, k], readable during the call
  virtual void OnLinearInput(absl::string_view name, const float* x, int rows,
                             int k) = 0;
};

// Whether `path` is the folder of a parent model, and not an unquantized
// HuggingFace folder or a file. Errors as ParseModelConfig.
absl::StatusOr<bool> IsParentModel(const std::string& path);

class LlamaModel {
 public:
  // A parent model folder (FORMAT.md of runtime/format), served at
  // seed_bits..min(parent_bits, max_bits).
  static absl::StatusOr<std::unique_ptr<LlamaModel>> LoadParent(
      const std::string& folder, const LoadOptions& options, Backend& backend);

  // An unquantized HuggingFace folder or GGUF file, served at
  // kUnquantizedBits only.
  static absl::StatusOr<std::unique_ptr<LlamaModel>> LoadCheckpoint(
      const std::string& path, const LoadOptions& options, Backend& backend);

  // Random planes and plausible codebooks of a known shape, to measure speed
  // without weights: SyntheticModelConfig(name). fp16 weights where max_bits is
  // kUnquantizedBits.
  static absl::StatusOr<std::unique_ptr<LlamaModel>> Synthetic(
      absl::string_view name, const LoadOptions& options, Backend& backend);

  ~LlamaModel();

  const ModelConfig& config() const { return config_; }
  int seed_bits() const { return seed_bits_; }
  int max_bits() const { return max_bits_; }
  int max_context_tokens() const { return max_context_tokens_; }

  KvLayout KvLayoutFor(int block_tokens, int num_blocks) const;

  // Bytes of weights that decoding one token at `bits` reads: planes, codebooks
  // or scales, and lm_head; one embedding row is left out.
  size_t WeightBytesRead(int bits) const;
  // Bytes of weights in the backend's memory, all precisions together.
  size_t WeightBytesResident() const;

  // Takes the memory of steps within `limits` with up to `logit_rows` rows of
  // logits and draws: activations and the backend's scratch, which Forward()
  // otherwise takes as it needs them.
  absl::Status ReserveMemory(const StepLimits& limits, int logit_rows);

  // REQUIRES: tokens in [0, vocab_size), positions below max_context_tokens,
  // precisions in [seed_bits, max_bits].
  absl::StatusOr<StepOutput> Forward(const StepInput& step, KvStorage& kv,
                                     ActivationObserver* observer = nullptr);

 private:
  struct Layer {
    std::unique_ptr<Buffer> input_norm;  // [hidden]
    std::unique_ptr<LinearWeights> qkv;  // q, k, v stacked
    std::unique_ptr<LinearWeights> attention_out;
    std::unique_ptr<Buffer> post_attention_norm;  // [hidden]
    std::unique_ptr<LinearWeights> gate_up;       // gate, up stacked
    std::unique_ptr<LinearWeights> down;
  };
  // Activations of one step; grown to the largest step seen.
  struct Workspace {
    std::unique_ptr<Buffer> residual;   // [rows, hidden]
    std::unique_ptr<Buffer> normed;     // [max(rows, picked rows), hidden]
    std::unique_ptr<Buffer> qkv;        // [rows, (heads + 2 kv_heads) head_dim]
    std::unique_ptr<Buffer> attention;  // [rows, heads * head_dim]
    std::unique_ptr<Buffer> gate_up;    // [rows, 2 intermediate]
    std::unique_ptr<Buffer> activated;  // [rows, intermediate]
    std::unique_ptr<Buffer> logits;     // [picked rows, vocab]

    absl::Status Reserve(const ModelConfig& config, Backend& backend, int rows,
                         int logit_rows);
  };
  friend class LlamaLoader;

  LlamaModel(ModelConfig config, Backend& backend);

  const LinearWeights& lm_head() const {
    return lm_head_ != nullptr ? *lm_head_ : *embedding_;
  }

  AttentionShape attention_shape() const {
    return {.heads = config_.num_heads,
            .kv_heads = config_.num_kv_heads,
            .head_dim = config_.head_dim};
  }

  void CheckStep(const StepInput& step) const;
  absl::Status Layers(const StepInput& step, KvStorage& kv,
                      ActivationObserver* observer);
  absl::Status Attend(int index, const StepInput& step, KvStorage& kv,
                      ActivationObserver* observer);
  absl::Status FeedForward(int index, const StepInput& step,
                           ActivationObserver* observer);
  absl::StatusOr<StepOutput> Output(const StepInput& step);
  absl::Status Norm(Buffer& weight, int rows, float* y);
  absl::Status Observe(ActivationObserver* observer, int layer,
                       std::initializer_list<absl::string_view> names,
                       const float* x, int rows, int k);

  const ModelConfig config_;
  Backend& backend_;
  int seed_bits_ = 0;
  int max_bits_ = 0;
  int max_context_tokens_ = 0;
  std::unique_ptr<LinearWeights> embedding_;  // [vocab, hidden]
  std::vector<Layer> layers_;
  std::unique_ptr<Buffer> final_norm_;      // [hidden]
  std::unique_ptr<LinearWeights> lm_head_;  // null: tied to embedding_
  std::unique_ptr<Buffer> rope_;            // [max_context, head_dim]
  Workspace workspace_;
  std::vector<int32_t> tokens_;  // of the newest StepOutput
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_MODEL_LLAMA_MODEL_H_
