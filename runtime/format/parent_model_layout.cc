#include "runtime/format/parent_model_layout.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/bit_plane.h"
#include "kernels/check.h"

namespace anyprec {

std::vector<LinearSpec> LinearSpecs(const ModelConfig& config, int layer) {
  const std::string prefix = absl::StrCat("model.layers.", layer, ".");
  const int hidden = config.hidden_size;
  const int inner = config.intermediate_size;
  const int q = config.num_heads * config.head_dim;
  const int kv = config.num_kv_heads * config.head_dim;
  return {
      {prefix + "self_attn.q_proj", q, hidden},
      {prefix + "self_attn.k_proj", kv, hidden},
      {prefix + "self_attn.v_proj", kv, hidden},
      {prefix + "self_attn.o_proj", hidden, q},
      {prefix + "mlp.gate_proj", inner, hidden},
      {prefix + "mlp.up_proj", inner, hidden},
      {prefix + "mlp.down_proj", hidden, inner},
  };
}

std::vector<TensorInfo> DenseTensorSpecs(const ModelConfig& config, int layer) {
  ANYPREC_CHECK(config.quantization.has_value());
  const int64_t hidden = config.hidden_size;
  const int64_t vocabulary = config.vocab_size;
  if (layer < config.num_layers) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    return {
        {prefix + "input_layernorm.weight", DType::kF32, {hidden}},
        {prefix + "post_attention_layernorm.weight", DType::kF32, {hidden}},
    };
  }
  std::vector<TensorInfo> specs = {
      {"model.embed_tokens.weight", DType::kF16, {vocabulary, hidden}},
      {"model.norm.weight", DType::kF32, {hidden}},
  };
  if (config.quantization->lm_head == "int8") {
    specs.push_back({"lm_head.weight", DType::kI8, {vocabulary, hidden}});
    specs.push_back({"lm_head.scale", DType::kF32, {vocabulary}});
  } else if (!config.tie_word_embeddings) {
    specs.push_back({"lm_head.weight", DType::kF16, {vocabulary, hidden}});
  }
  return specs;
}

std::string PlanesName(absl::string_view linear) {
  return absl::StrCat(linear, ".qweight");
}

std::vector<TensorInfo> PrecisionTensors(const QuantizationConfig& quantization,
                                         const LinearSpec& linear,
                                         int precision) {
  if (!quantization.has_scales()) {
    return {{absl::StrCat(linear.name, ".lut", precision),
             DType::kF16,
             {linear.n, int64_t{1} << precision}}};
  }
  const int64_t groups = GroupCount(linear.k, quantization.group_size);
  return {{absl::StrCat(linear.name, ".alpha", precision),
           DType::kF16,
           {linear.n, groups, precision}},
          {absl::StrCat(linear.name, ".beta", precision),
           DType::kF16,
           {linear.n, groups}}};
}

std::vector<SafetensorsWriter::TensorSpec> LinearTensors(
    const QuantizationConfig& quantization, const LinearSpec& linear) {
  // I32, not U32: frameworks that lack unsigned types read it too.
  std::vector<SafetensorsWriter::TensorSpec> tensors = {
      {{PlanesName(linear.name),
        DType::kI32,
        {quantization.parent_bits, linear.n, linear.k / 32}},
       quantization.parent_bits}};
  for (int p = quantization.seed_bits; p <= quantization.parent_bits; ++p) {
    for (TensorInfo& info : PrecisionTensors(quantization, linear, p)) {
      tensors.push_back({std::move(info), 1});
    }
  }
  return tensors;
}

std::vector<SafetensorsWriter::TensorSpec> ParentModelTensors(
    const ModelConfig& config) {
  ANYPREC_CHECK(config.quantization.has_value());
  std::vector<SafetensorsWriter::TensorSpec> tensors;
  for (int layer = 0; layer <= config.num_layers; ++layer) {
    for (TensorInfo& info : DenseTensorSpecs(config, layer)) {
      tensors.push_back({std::move(info), 1});
    }
    if (layer == config.num_layers) break;
    for (const LinearSpec& linear : LinearSpecs(config, layer)) {
      for (auto& tensor : LinearTensors(*config.quantization, linear)) {
        tensors.push_back(std::move(tensor));
      }
    }
  }
  return tensors;
}

}  // namespace anyprec
