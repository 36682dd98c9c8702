#include "runtime/model/model_config.h"

#include <cmath>
#include <initializer_list>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/bit_plane.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "runtime/format/json.h"

namespace anyprec {
namespace {

using nlohmann::json;

// Of a layer. Far above any model's, and low enough that products of two stay
// within 48 bits and per-layer bookkeeping within a few MB.
constexpr int64_t kMaxWidth = 1 << 20;

// Reads fields of one JSON object, by name, with messages that name them. An
// absent or null field takes the given default.
class Fields {
 public:
  // `prefix` goes before the names of fields: "rope_scaling.".
  Fields(const json& object, absl::string_view source, absl::string_view prefix)
      : object_(object), source_(source), prefix_(prefix) {}

  // Null where the field is absent or null.
  const json* Find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  // Whether the field is there, null included.
  bool Has(const char* name) const { return object_.contains(name); }

  absl::Status Missing(const char* name, absl::string_view needed) const {
    return absl::InvalidArgumentError(absl::StrCat(
        source_, ": ", prefix_, name, " is missing, needed is ", needed));
  }

  absl::Status Wrong(const char* name, absl::string_view needed) const {
    return absl::InvalidArgumentError(absl::StrCat(source_, ": ", prefix_, name,
                                                   " is ", Show(name),
                                                   ", needed is ", needed));
  }

  absl::Status Unimplemented(const char* name,
                             absl::string_view supported) const {
    return absl::UnimplementedError(absl::StrCat(source_, ": ", prefix_, name,
                                                 " is ", Show(name),
                                                 ", supported is ", supported));
  }

  // An integer that fits int32.
  absl::Status Read(const char* name, int* value) const {
    const json* field = Find(name);
    if (field == nullptr) return absl::OkStatus();
    if (!field->is_number_integer()) return Wrong(name, "an integer");
    const auto number = field->get<int64_t>();
    const bool beyond =
        field->is_number_unsigned() && field->get<uint64_t>() > kMaxInt;
    if (beyond || number > int64_t{kMaxInt} || number < -int64_t{kMaxInt}) {
      return Wrong(name, "an integer of 32 bits");
    }
    *value = static_cast<int>(number);
    return absl::OkStatus();
  }

  absl::Status Read(const char* name, double* value) const {
    const json* field = Find(name);
    if (field == nullptr) return absl::OkStatus();
    if (!field->is_number()) return Wrong(name, "a number");
    *value = field->get<double>();
    return absl::OkStatus();
  }

  absl::Status Read(const char* name, bool* value) const {
    const json* field = Find(name);
    if (field == nullptr) return absl::OkStatus();
    if (!field->is_boolean()) return Wrong(name, "true or false");
    *value = field->get<bool>();
    return absl::OkStatus();
  }

  absl::Status Read(const char* name, std::string* value) const {
    const json* field = Find(name);
    if (field == nullptr) return absl::OkStatus();
    const auto* text = field->get_ptr<const std::string*>();
    if (text == nullptr) return Wrong(name, "a string");
    *value = *text;
    return absl::OkStatus();
  }

  absl::Status ReadRequired(const char* name, int* value) const {
    if (Find(name) == nullptr) return Missing(name, "an integer");
    return Read(name, value);
  }

  // OK where the field is absent, null or `value`.
  absl::Status RequireOnly(const char* name, const json& value) const {
    const json* field = Find(name);
    if (field == nullptr || *field == value) return absl::OkStatus();
    return Unimplemented(name, value.dump());
  }

 private:
  static constexpr int kMaxInt = std::numeric_limits<int>::max();

  std::string Show(const char* name) const {
    constexpr size_t kLongest = 80;
    const std::string text = object_.at(name).dump();
    return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
  }

  const json& object_;
  const absl::string_view source_;
  const absl::string_view prefix_;
};

// rope_scaling, or rope_parameters as transformers 5 writes it.
absl::Status ParseRopeScaling(const json& object, absl::string_view source,
                              absl::string_view prefix, ModelConfig* config) {
  const Fields fields(object, source, prefix);
  RETURN_IF_ERROR(fields.Read("rope_theta", &config->rope_theta));
  const char* key = fields.Has("rope_type") ? "rope_type" : "type";
  std::string type = "default";
  RETURN_IF_ERROR(fields.Read(key, &type));
  if (type == "default") return absl::OkStatus();
  if (type != "llama3") {
    return fields.Unimplemented(key, "\"default\" or \"llama3\"");
  }
  Llama3RopeScaling scaling;
  for (const char* name : {"factor", "low_freq_factor", "high_freq_factor",
                           "original_max_position_embeddings"}) {
    if (fields.Find(name) == nullptr) return fields.Missing(name, "a number");
  }
  RETURN_IF_ERROR(fields.Read("factor", &scaling.factor));
  RETURN_IF_ERROR(fields.Read("low_freq_factor", &scaling.low_freq_factor));
  RETURN_IF_ERROR(fields.Read("high_freq_factor", &scaling.high_freq_factor));
  RETURN_IF_ERROR(fields.Read("original_max_position_embeddings",
                              &scaling.original_max_position_embeddings));
  config->rope_scaling = scaling;
  return absl::OkStatus();
}

absl::Status ParseRope(const Fields& fields, absl::string_view source,
                       ModelConfig* config) {
  RETURN_IF_ERROR(fields.Read("rope_theta", &config->rope_theta));
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const json* object = fields.Find(name);
    if (object == nullptr) continue;
    if (!object->is_object()) return fields.Wrong(name, "an object or null");
    RETURN_IF_ERROR(
        ParseRopeScaling(*object, source, absl::StrCat(name, "."), config));
  }
  return absl::OkStatus();
}

absl::Status ParseTokenIds(const Fields& fields, ModelConfig* config) {
  // What LlamaConfig assumes where the fields are absent; null means none.
  int bos = 1;
  RETURN_IF_ERROR(fields.Read("bos_token_id", &bos));
  const bool bos_is_null =
      fields.Has("bos_token_id") && fields.Find("bos_token_id") == nullptr;
  if (!bos_is_null) config->bos_token_id = bos;

  const json* eos = fields.Find("eos_token_id");
  if (eos == nullptr) {
    if (!fields.Has("eos_token_id")) config->eos_token_ids = {2};
    return absl::OkStatus();
  }
  const json list = eos->is_array() ? *eos : json::array({*eos});
  for (const json& item : list) {
    if (!item.is_number_integer() || item < 0 ||
        item > std::numeric_limits<int32_t>::max()) {
      return fields.Wrong("eos_token_id", "a token id or a list of them");
    }
    config->eos_token_ids.push_back(item.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::Status ParseQuantization(const Fields& fields, absl::string_view source,
                               ModelConfig* config) {
  const json* object = fields.Find("quantization_config");
  if (object == nullptr) return absl::OkStatus();
  if (!object->is_object()) {
    return fields.Wrong("quantization_config", "an object");
  }
  const Fields inner(*object, source, "quantization_config.");
  if (inner.Find("quant_method") == nullptr) {
    return inner.Missing("quant_method", "\"anyprec\"");
  }
  RETURN_IF_ERROR(inner.RequireOnly("quant_method", "anyprec"));
  if (inner.Find("scheme") == nullptr) {
    return inner.Missing("scheme", "\"iu\" or \"bcq\"");
  }
  QuantizationConfig quantization;
  quantization.lm_head = "fp16";
  RETURN_IF_ERROR(inner.Read("scheme", &quantization.scheme));
  RETURN_IF_ERROR(
      quantization.has_scales()
          ? inner.ReadRequired("group_size", &quantization.group_size)
          : inner.Read("group_size", &quantization.group_size));
  RETURN_IF_ERROR(inner.ReadRequired("seed_bits", &quantization.seed_bits));
  RETURN_IF_ERROR(inner.ReadRequired("parent_bits", &quantization.parent_bits));
  RETURN_IF_ERROR(inner.Read("sensitivity", &quantization.sensitivity));
  RETURN_IF_ERROR(inner.Read("lm_head", &quantization.lm_head));
  RETURN_IF_ERROR(inner.Read("tool_version", &quantization.tool_version));
  config->quantization = std::move(quantization);
  return absl::OkStatus();
}

// Features that change results and that we do not have.
absl::Status CheckFeatures(const Fields& fields, const ModelConfig& config) {
  std::string type;
  RETURN_IF_ERROR(fields.Read("model_type", &type));
  if (type.empty()) {
    return fields.Missing("model_type", "\"llama\" or \"mistral\"");
  }
  if (type != "llama" && type != "mistral") {
    return fields.Unimplemented("model_type", "\"llama\" or \"mistral\"");
  }
  RETURN_IF_ERROR(fields.RequireOnly("hidden_act", "silu"));
  RETURN_IF_ERROR(fields.RequireOnly("attention_bias", false));
  RETURN_IF_ERROR(fields.RequireOnly("mlp_bias", false));
  RETURN_IF_ERROR(fields.RequireOnly("rope_interleaved", false));
  RETURN_IF_ERROR(fields.RequireOnly("partial_rotary_factor", 1.0));
  int window = config.max_position_embeddings;
  RETURN_IF_ERROR(fields.Read("sliding_window", &window));
  if (window < config.max_position_embeddings) {
    return fields.Unimplemented("sliding_window",
                                "null, or no less than "
                                "max_position_embeddings");
  }
  return absl::OkStatus();
}

absl::Status CheckRange(absl::string_view source, absl::string_view name,
                        int64_t value, int64_t lowest, int64_t highest) {
  if (value >= lowest && value <= highest) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(source, ": ", name, " is ",
                                                 value, ", needed is ", lowest,
                                                 " .. ", highest));
}

absl::Status CheckMultiple(absl::string_view source, absl::string_view name,
                           int64_t value, int64_t divisor) {
  if (value % divisor == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(source, ": ", name, " is ", value,
                   ", needed is a multiple of ", divisor));
}

absl::Status CheckPositive(absl::string_view source, absl::string_view name,
                           double value) {
  if (std::isfinite(value) && value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      source, ": ", name, " is ", value, ", needed is a positive number"));
}

absl::Status ValidateRopeScaling(const Llama3RopeScaling& scaling,
                                 absl::string_view source) {
  RETURN_IF_ERROR(CheckPositive(source, "rope_scaling.factor", scaling.factor));
  RETURN_IF_ERROR(CheckPositive(source, "rope_scaling.low_freq_factor",
                                scaling.low_freq_factor));
  RETURN_IF_ERROR(CheckPositive(source, "rope_scaling.high_freq_factor",
                                scaling.high_freq_factor));
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    return absl::InvalidArgumentError(absl::StrCat(
        source, ": rope_scaling.high_freq_factor is ", scaling.high_freq_factor,
        ", needed is more than low_freq_factor, ", scaling.low_freq_factor));
  }
  return CheckRange(source, "rope_scaling.original_max_position_embeddings",
                    scaling.original_max_position_embeddings, 1,
                    std::numeric_limits<int>::max());
}

absl::Status ValidateScheme(const QuantizationConfig& quantization,
                            absl::string_view source) {
  if (quantization.has_scales()) {
    // A group is a whole number of a plane's words. One of the widest row is
    // the largest that makes a difference.
    RETURN_IF_ERROR(CheckRange(source, "quantization_config.group_size",
                               quantization.group_size, 32, kMaxWidth));
    return CheckMultiple(source, "quantization_config.group_size",
                         quantization.group_size, 32);
  }
  if (quantization.scheme != "iu") {
    return absl::UnimplementedError(absl::StrCat(
        source, ": quantization_config.scheme is \"", quantization.scheme,
        "\", supported is \"iu\" or \"bcq\""));
  }
  if (quantization.group_size != -1) {
    return absl::UnimplementedError(absl::StrCat(
        source, ": quantization_config.group_size is ", quantization.group_size,
        ", supported is -1 where scheme is \"iu\""));
  }
  return absl::OkStatus();
}

// What bit planes need on top of a valid model.
absl::Status ValidateQuantization(const ModelConfig& config,
                                  absl::string_view source) {
  const QuantizationConfig& quantization = *config.quantization;
  RETURN_IF_ERROR(ValidateScheme(quantization, source));
  if (quantization.lm_head != "fp16" && quantization.lm_head != "int8") {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": quantization_config.lm_head is \"",
                     quantization.lm_head, "\", needed is fp16 or int8"));
  }
  RETURN_IF_ERROR(CheckRange(source, "quantization_config.parent_bits",
                             quantization.parent_bits, kMinBits, kMaxBits));
  RETURN_IF_ERROR(CheckRange(source, "quantization_config.seed_bits",
                             quantization.seed_bits, kMinBits,
                             quantization.parent_bits));
  // A row of a plane is a whole number of 32-bit words.
  RETURN_IF_ERROR(CheckMultiple(source, "hidden_size", config.hidden_size, 32));
  RETURN_IF_ERROR(
      CheckMultiple(source, "intermediate_size", config.intermediate_size, 32));
  return CheckMultiple(source, "num_attention_heads * head_dim",
                       int64_t{config.num_heads} * config.head_dim, 32);
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json_text,
                                             absl::string_view source) {
  ASSIGN_OR_RETURN(const json document, ParseJsonObject(json_text, source));
  const Fields fields(document, source, "");
  ModelConfig config;
  config.max_position_embeddings = 2048;  // LlamaConfig's defaults
  config.rms_norm_eps = 1e-6;
  RETURN_IF_ERROR(
      fields.Read("max_position_embeddings", &config.max_position_embeddings));
  RETURN_IF_ERROR(CheckFeatures(fields, config));
  RETURN_IF_ERROR(fields.ReadRequired("vocab_size", &config.vocab_size));
  RETURN_IF_ERROR(fields.ReadRequired("hidden_size", &config.hidden_size));
  RETURN_IF_ERROR(
      fields.ReadRequired("intermediate_size", &config.intermediate_size));
  RETURN_IF_ERROR(fields.ReadRequired("num_hidden_layers", &config.num_layers));
  RETURN_IF_ERROR(
      fields.ReadRequired("num_attention_heads", &config.num_heads));
  config.num_kv_heads = config.num_heads;
  RETURN_IF_ERROR(fields.Read("num_key_value_heads", &config.num_kv_heads));
  RETURN_IF_ERROR(fields.Read("head_dim", &config.head_dim));
  if (fields.Find("head_dim") == nullptr && config.num_heads > 0) {
    RETURN_IF_ERROR(CheckMultiple(source, "hidden_size", config.hidden_size,
                                  config.num_heads));
    config.head_dim = config.hidden_size / config.num_heads;
  }
  RETURN_IF_ERROR(fields.Read("rms_norm_eps", &config.rms_norm_eps));
  RETURN_IF_ERROR(
      fields.Read("tie_word_embeddings", &config.tie_word_embeddings));
  RETURN_IF_ERROR(ParseRope(fields, source, &config));
  RETURN_IF_ERROR(ParseTokenIds(fields, &config));
  RETURN_IF_ERROR(ParseQuantization(fields, source, &config));
  RETURN_IF_ERROR(ValidateModelConfig(config, source));
  return config;
}

std::string ModelConfigToJson(const ModelConfig& config) {
  json document = {
      {"architectures", json::array({"LlamaForCausalLM"})},
      {"attention_bias", false},
      {"eos_token_id", config.eos_token_ids},
      {"head_dim", config.head_dim},
      {"hidden_act", "silu"},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"max_position_embeddings", config.max_position_embeddings},
      {"mlp_bias", false},
      {"model_type", "llama"},
      {"num_attention_heads", config.num_heads},
      {"num_hidden_layers", config.num_layers},
      {"num_key_value_heads", config.num_kv_heads},
      {"rms_norm_eps", config.rms_norm_eps},
      {"rope_theta", config.rope_theta},
      {"tie_word_embeddings", config.tie_word_embeddings},
      {"vocab_size", config.vocab_size},
  };
  document["bos_token_id"] =
      config.bos_token_id.has_value() ? json(*config.bos_token_id) : json();
  document["rope_scaling"] = nullptr;
  if (config.rope_scaling.has_value()) {
    document["rope_scaling"] = {
        {"rope_type", "llama3"},
        {"factor", config.rope_scaling->factor},
        {"low_freq_factor", config.rope_scaling->low_freq_factor},
        {"high_freq_factor", config.rope_scaling->high_freq_factor},
        {"original_max_position_embeddings",
         config.rope_scaling->original_max_position_embeddings},
    };
  }
  if (config.quantization.has_value()) {
    document["quantization_config"] = {
        {"quant_method", "anyprec"},
        {"scheme", config.quantization->scheme},
        {"seed_bits", config.quantization->seed_bits},
        {"parent_bits", config.quantization->parent_bits},
        {"group_size", config.quantization->group_size},
        {"sensitivity", config.quantization->sensitivity},
        {"lm_head", config.quantization->lm_head},
        {"tool_version", config.quantization->tool_version},
    };
  }
  // Texts come from our own flags or from JSON that was checked; a stray byte
  // must still not throw.
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::Status ValidateModelConfig(const ModelConfig& config,
                                 absl::string_view source) {
  // Far above any model, as kMaxWidth is.
  constexpr int64_t kMaxVocabulary = 1 << 24;
  constexpr int64_t kMaxLayers = 1024;
  // A table of angles is kept for each position.
  constexpr int64_t kMaxPositions = 1 << 22;
  RETURN_IF_ERROR(
      CheckRange(source, "vocab_size", config.vocab_size, 1, kMaxVocabulary));
  RETURN_IF_ERROR(
      CheckRange(source, "hidden_size", config.hidden_size, 1, kMaxWidth));
  RETURN_IF_ERROR(CheckRange(source, "intermediate_size",
                             config.intermediate_size, 1, kMaxWidth));
  RETURN_IF_ERROR(CheckRange(source, "num_hidden_layers", config.num_layers, 1,
                             kMaxLayers));
  RETURN_IF_ERROR(CheckRange(source, "num_attention_heads", config.num_heads, 1,
                             kMaxWidth));
  RETURN_IF_ERROR(CheckRange(source, "num_key_value_heads", config.num_kv_heads,
                             1, config.num_heads));
  RETURN_IF_ERROR(CheckMultiple(source, "num_attention_heads", config.num_heads,
                                config.num_kv_heads));
  RETURN_IF_ERROR(
      CheckRange(source, "head_dim", config.head_dim, 2, kMaxWidth));
  RETURN_IF_ERROR(CheckMultiple(source, "head_dim", config.head_dim, 2));
  RETURN_IF_ERROR(CheckRange(source, "num_attention_heads * head_dim",
                             int64_t{config.num_heads} * config.head_dim, 2,
                             kMaxWidth));
  RETURN_IF_ERROR(CheckRange(source, "max_position_embeddings",
                             config.max_position_embeddings, 1, kMaxPositions));
  RETURN_IF_ERROR(CheckPositive(source, "rms_norm_eps", config.rms_norm_eps));
  RETURN_IF_ERROR(CheckPositive(source, "rope_theta", config.rope_theta));
  if (config.rope_scaling.has_value()) {
    RETURN_IF_ERROR(ValidateRopeScaling(*config.rope_scaling, source));
  }
  if (config.bos_token_id.has_value()) {
    RETURN_IF_ERROR(CheckRange(source, "bos_token_id", *config.bos_token_id, 0,
                               config.vocab_size - 1));
  }
  for (const int32_t id : config.eos_token_ids) {
    RETURN_IF_ERROR(
        CheckRange(source, "eos_token_id", id, 0, config.vocab_size - 1));
  }
  if (config.quantization.has_value()) {
    RETURN_IF_ERROR(ValidateQuantization(config, source));
  }
  return absl::OkStatus();
}

}  // namespace anyprec
