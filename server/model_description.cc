#include "server/model_description.h"

#include <cstdint>

#include "runtime/model/model_config.h"
#include "server/version.h"

namespace anyprec {
namespace {

v1::ModelShape ToShape(const ModelConfig& config) {
  v1::ModelShape shape;
  shape.set_vocab_size(config.vocab_size);
  shape.set_hidden_size(config.hidden_size);
  shape.set_intermediate_size(config.intermediate_size);
  shape.set_num_layers(config.num_layers);
  shape.set_num_heads(config.num_heads);
  shape.set_num_kv_heads(config.num_kv_heads);
  shape.set_head_dim(config.head_dim);
  shape.set_tie_word_embeddings(config.tie_word_embeddings);
  return shape;
}

v1::Quantization ToQuantization(const QuantizationConfig& config) {
  v1::Quantization quantization;
  quantization.set_scheme(config.scheme);
  quantization.set_seed_bits(config.seed_bits);
  quantization.set_parent_bits(config.parent_bits);
  quantization.set_sensitivity(config.sensitivity);
  quantization.set_lm_head(config.lm_head);
  quantization.set_group_size(config.group_size);
  return quantization;
}

}  // namespace

v1::GetModelResponse DescribeModel(const std::string& name,
                                   const LlamaModel& model,
                                   const ServedModel& served,
                                   absl::string_view backend_name) {
  v1::GetModelResponse response;
  response.set_backend(std::string(backend_name));
  response.set_server_version(kVersion);
  v1::ModelInfo* info = response.mutable_model();
  info->set_name(name);
  *info->mutable_shape() = ToShape(model.config());
  if (model.config().quantization.has_value()) {
    *info->mutable_quantization() =
        ToQuantization(*model.config().quantization);
  }
  for (int bits = model.seed_bits(); bits <= model.max_bits(); ++bits) {
    v1::PrecisionInfo* precision = info->add_precisions();
    precision->set_bits(bits);
    precision->set_weight_bytes_per_token(
        static_cast<int64_t>(model.WeightBytesRead(bits)));
  }
  info->set_weight_bytes_resident(
      static_cast<int64_t>(model.WeightBytesResident()));
  info->set_max_context_tokens(served.max_context_tokens);
  info->set_has_tokenizer(served.tokenizer != nullptr);
  info->set_has_chat_template(served.chat_template.ok());
  return response;
}

}  // namespace anyprec
