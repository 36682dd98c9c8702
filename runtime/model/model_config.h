// Hyper-parameters of a Llama-style decoder, as config.json or GGUF metadata
// state them.
#ifndef ANYPREC_RUNTIME_MODEL_MODEL_CONFIG_H_
#define ANYPREC_RUNTIME_MODEL_MODEL_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// Llama 3's stretching of the rotary frequencies ("rope_type": "llama3").
struct Llama3RopeScaling {
  double factor = 8.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int original_max_position_embeddings = 8192;
};

// How the linear layers of a parent model were quantized.
struct QuantizationConfig {
  // "iu": codebooks refined by incremental upscaling (Any-Precision LLM);
  // "bcq": scales of each group of columns (AnyBCQ).
  std::string scheme;
  int seed_bits = 0;
  int parent_bits = 0;
  // Columns that share scales, a multiple of 32; -1 for "iu", whose codebooks
  // span whole rows.
  int group_size = -1;
  std::string sensitivity;
  std::string lm_head;  // "fp16" or "int8"
  std::string tool_version;

  bool has_scales() const { return scheme == "bcq"; }
};

struct ModelConfig {
  int vocab_size = 0;
  int hidden_size = 0;
  int intermediate_size = 0;
  int num_layers = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int max_position_embeddings = 0;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000.0;
  std::optional<Llama3RopeScaling> rope_scaling;
  bool tie_word_embeddings = false;
  std::optional<int32_t> bos_token_id;
  std::vector<int32_t> eos_token_ids;
  std::optional<QuantizationConfig> quantization;  // absent: unquantized
};

// Parses and validates a HuggingFace config.json of model_type "llama" (or
// "mistral" without a sliding window). `source` names the file in messages.
// INVALID_ARGUMENT names the field, the value found and the value needed;
// UNIMPLEMENTED names a feature that changes results and that we do not have
// (attention biases, an unknown rope_type, another activation).
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json,
                                             absl::string_view source);

// The inverse: a config.json that ParseModelConfig and HuggingFace read.
std::string ModelConfigToJson(const ModelConfig& config);

// Checks ranges and divisibility; what every loader calls last.
absl::Status ValidateModelConfig(const ModelConfig& config,
                                 absl::string_view source);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_MODEL_MODEL_CONFIG_H_
