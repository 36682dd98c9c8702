#include "runtime/model/llama_loader.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/parent_model_layout.h"
#include "runtime/format/tensor.h"
#include "runtime/model/rope.h"

namespace anyprec {
namespace {

// The least that a backend can keep the weights in: blocks as planes with
// codebooks or scales, the embedding and an lm_head as int8; all in 16 bits
// where the model is not quantized.
size_t LeastWeightBytes(const WeightSource& source) {
  const ModelConfig& config = source.config();
  const size_t hidden = config.hidden_size, inner = config.intermediate_size;
  const size_t q_size = config.num_heads * config.head_dim;
  const size_t kv_size = config.num_kv_heads * config.head_dim;
  // Of the layers of a block, without norms.
  const size_t weights = hidden * (2 * q_size + 2 * kv_size + 3 * inner);
  const size_t dense =
      hidden * config.vocab_size * (source.HasLmHead() ? 2 : 1);
  if (source.max_bits() == kUnquantizedBits) {
    return 2 * (config.num_layers * weights + dense);
  }
  size_t block_bytes = weights * source.max_bits() / 8;
  // Random weights have no such config; they have codebooks.
  const QuantizationConfig quantization =
      config.quantization.value_or(QuantizationConfig());
  for (const LinearSpec& spec : LinearSpecs(config, 0)) {
    for (int bits = source.min_bits(); bits <= source.max_bits(); ++bits) {
      for (const TensorInfo& info :
           PrecisionTensors(quantization, spec, bits)) {
        block_bytes += *NumBytes(info.dtype, info.shape);
      }
    }
  }
  return config.num_layers * block_bytes + dense;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LlamaModel>> LlamaLoader::Load() {
  RETURN_IF_ERROR(CheckRoom());
  const ModelConfig& config = source_.config();
  auto model = absl::WrapUnique(new LlamaModel(config, backend_));
  model->seed_bits_ = source_.min_bits();
  model->max_bits_ = source_.max_bits();
  RETURN_IF_ERROR(LoadRope(*model));

  ASSIGN_OR_RETURN(model->embedding_,
                   source_.LoadDense({"model.embed_tokens", config.vocab_size,
                                      config.hidden_size},
                                     backend_));
  for (int index = 0; index < config.num_layers; ++index) {
    if (options_.progress) {
      options_.progress(static_cast<double>(index) / config.num_layers);
    }
    ASSIGN_OR_RETURN(LlamaModel::Layer layer, LoadLayer(index));
    model->layers_.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(model->final_norm_, LoadNorm("model.norm"));
  if (source_.HasLmHead()) {
    ASSIGN_OR_RETURN(
        model->lm_head_,
        source_.LoadDense({"lm_head", config.vocab_size, config.hidden_size},
                          backend_));
  }
  if (options_.progress) options_.progress(1.0);
  return model;
}

absl::Status LlamaLoader::CheckRoom() const {
  ASSIGN_OR_RETURN(const std::optional<DeviceMemoryInfo> device,
                   backend_.GetDeviceMemoryInfo());
  const size_t needed = LeastWeightBytes(source_);
  if (!device.has_value() || needed <= device->free_bytes) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "the model's weights at up to ", source_.max_bits(),
      " bits need at least ", needed,
      " bytes of the device's memory, of which ", device->free_bytes, " of ",
      device->total_bytes, " are free"));
}

absl::StatusOr<LlamaModel::Layer> LlamaLoader::LoadLayer(int index) {
  const ModelConfig& config = source_.config();
  const int hidden = config.hidden_size;
  const int inner = config.intermediate_size;
  const int q_size = config.num_heads * config.head_dim;
  const int kv_size = config.num_kv_heads * config.head_dim;
  const std::string prefix = absl::StrCat("model.layers.", index, ".");
  const auto stack = [&](std::vector<LinearSpec> specs) {
    for (LinearSpec& spec : specs) spec.name = prefix + spec.name;
    return source_.LoadStack(specs, backend_);
  };

  LlamaModel::Layer layer;
  ASSIGN_OR_RETURN(layer.input_norm, LoadNorm(prefix + "input_layernorm"));
  ASSIGN_OR_RETURN(layer.qkv, stack({{"self_attn.q_proj", q_size, hidden},
                                     {"self_attn.k_proj", kv_size, hidden},
                                     {"self_attn.v_proj", kv_size, hidden}}));
  ASSIGN_OR_RETURN(layer.attention_out,
                   stack({{"self_attn.o_proj", hidden, q_size}}));
  ASSIGN_OR_RETURN(layer.post_attention_norm,
                   LoadNorm(prefix + "post_attention_layernorm"));
  ASSIGN_OR_RETURN(layer.gate_up, stack({{"mlp.gate_proj", inner, hidden},
                                         {"mlp.up_proj", inner, hidden}}));
  ASSIGN_OR_RETURN(layer.down, stack({{"mlp.down_proj", hidden, inner}}));
  return layer;
}

absl::StatusOr<std::unique_ptr<Buffer>> LlamaLoader::LoadNorm(
    absl::string_view name) {
  ASSIGN_OR_RETURN(const std::vector<float> values,
                   source_.LoadNorm(name, source_.config().hidden_size));
  return Upload(values);
}

absl::StatusOr<std::unique_ptr<Buffer>> LlamaLoader::Upload(
    std::span<const float> values) {
  ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer,
                   backend_.Allocate(values.size()));
  RETURN_IF_ERROR(backend_.CopyFromHost(values, buffer->data()));
  return buffer;
}

absl::Status LlamaLoader::LoadRope(LlamaModel& model) {
  const ModelConfig& config = model.config_;
  const int limit = config.max_position_embeddings;
  if (options_.max_context_tokens < 0 || options_.max_context_tokens > limit) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_context_tokens is ", options_.max_context_tokens,
                     ", the model was made for at most ", limit));
  }
  model.max_context_tokens_ =
      options_.max_context_tokens > 0 ? options_.max_context_tokens : limit;
  const size_t width = config.head_dim;
  ASSIGN_OR_RETURN(model.rope_,
                   backend_.Allocate(model.max_context_tokens_ * width));
  // In pieces: a context of a million tokens is half a gigabyte.
  constexpr int kPiece = 4096;
  for (int first = 0; first < model.max_context_tokens_; first += kPiece) {
    const int positions = std::min(kPiece, model.max_context_tokens_ - first);
    RETURN_IF_ERROR(backend_.CopyFromHost(RopeTable(config, first, positions),
                                          model.rope_->data() + first * width));
  }
  return absl::OkStatus();
}

}  // namespace anyprec
