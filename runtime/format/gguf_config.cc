#include "runtime/format/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "kernels/status_macros.h"
#include "runtime/format/gguf_dequantize.h"

namespace anyprec {
namespace {

absl::StatusOr<int> GetInt32(const GgufFile& file, absl::string_view key) {
  ASSIGN_OR_RETURN(const int64_t value, file.GetInt(key));
  if (value < 0 || value > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": the key \"", key, "\" is ", value,
                     ", needed is 0 .. 2^31 - 1"));
  }
  return static_cast<int>(value);
}

// The value of an optional key.
absl::StatusOr<int> GetInt32Or(const GgufFile& file, absl::string_view key,
                               int fallback) {
  if (!file.Has(key)) return fallback;
  return GetInt32(file, key);
}

absl::StatusOr<double> GetFloatOr(const GgufFile& file, absl::string_view key,
                                  double fallback) {
  if (!file.Has(key)) return fallback;
  return file.GetFloat(key);
}

// fp32 values widened to double print badly (9.999999747378752e-06); the
// shortest decimal that reads back as the same float is what was meant.
double ShortestDecimal(double value) {
  double parsed = value;
  for (int digits = 1; digits <= 9; ++digits) {
    const std::string text = absl::StrFormat("%.*g", digits, value);
    if (absl::SimpleAtod(text, &parsed) &&
        static_cast<float>(parsed) == static_cast<float>(value)) {
      return parsed;
    }
  }
  return value;
}

// What Llama 3 divides rotary frequency i by: 1 for short wavelengths, `factor`
// for long ones, a blend between (the models' published definition).
double Llama3Divisor(const Llama3RopeScaling& scaling, double theta, int i,
                     int head_dim) {
  const double frequency = std::pow(theta, -2.0 * i / head_dim);
  const double wavelength = 2.0 * std::numbers::pi / frequency;
  const double context = scaling.original_max_position_embeddings;
  if (wavelength < context / scaling.high_freq_factor) return 1.0;
  if (wavelength > context / scaling.low_freq_factor) return scaling.factor;
  const double smooth = (context / wavelength - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return 1.0 / ((1.0 - smooth) / scaling.factor + smooth);
}

absl::Status ReadRopeTable(const GgufFile& file, ModelConfig* config) {
  const GgufFile::Tensor* table = file.Find("rope_freqs.weight");
  if (table == nullptr) return absl::OkStatus();
  const int half = config->head_dim / 2;
  if (table->info.dtype != DType::kF32 ||
      table->info.shape != std::vector<int64_t>{half}) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path(), ": tensor \"rope_freqs.weight\" is ",
        DTypeName(table->info.dtype), " ", ShapeToString(table->info.shape),
        ", needed is F32 [", half, "]"));
  }
  std::vector<float> divisors(static_cast<size_t>(half));
  Dequantize(DType::kF32, table->data, divisors);
  RETURN_IF_ERROR(
      CheckFinite(DType::kF32, std::as_bytes(std::span<const float>(divisors)),
                  absl::StrCat(file.path(), ": tensor \"rope_freqs.weight\"")));
  if (std::all_of(divisors.begin(), divisors.end(),
                  [](float divisor) { return divisor == 1.0f; })) {
    return absl::OkStatus();
  }
  // All published models share these; only the factor differs (8 and 32).
  Llama3RopeScaling scaling;
  ASSIGN_OR_RETURN(
      scaling.original_max_position_embeddings,
      GetInt32Or(file, "llama.rope.scaling.original_context_length",
                 scaling.original_max_position_embeddings));
  scaling.factor = *std::max_element(divisors.begin(), divisors.end());
  for (int i = 0; i < half; ++i) {
    const double needed =
        Llama3Divisor(scaling, config->rope_theta, i, config->head_dim);
    // The table is fp32, computed in fp32.
    constexpr double kTolerance = 1e-4;
    if (!(std::abs(divisors[static_cast<size_t>(i)] - needed) <=
          kTolerance * needed)) {
      return absl::UnimplementedError(absl::StrCat(
          file.path(), ": tensor \"rope_freqs.weight\": element ", i, " is ",
          divisors[static_cast<size_t>(i)], ", Llama 3's scaling by ",
          scaling.factor, " has ", needed, ", and no other is supported"));
    }
  }
  config->rope_scaling = scaling;
  return absl::OkStatus();
}

absl::Status CheckRopeScalingType(const GgufFile& file) {
  constexpr char kKey[] = "llama.rope.scaling.type";
  if (!file.Has(kKey)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string type, file.GetString(kKey));
  ASSIGN_OR_RETURN(const double factor,
                   GetFloatOr(file, "llama.rope.scaling.factor", 1.0));
  if (type == "none" || (type == "linear" && factor == 1.0)) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(absl::StrCat(file.path(), ": ", kKey,
                                               " is \"", PrintableName(type),
                                               "\", supported is \"none\""));
}

absl::Status ReadTokenIds(const GgufFile& file, ModelConfig* config) {
  if (file.Has("tokenizer.ggml.bos_token_id")) {
    ASSIGN_OR_RETURN(config->bos_token_id,
                     GetInt32(file, "tokenizer.ggml.bos_token_id"));
  }
  // The end of a turn ends a generation as the end of a text does.
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    if (!file.Has(key)) continue;
    ASSIGN_OR_RETURN(const int id, GetInt32(file, key));
    std::vector<int32_t>& ids = config->eos_token_ids;
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return absl::OkStatus();
}

absl::StatusOr<int> VocabularySize(const GgufFile& file) {
  // The embedding is the truth; llama.vocab_size may be absent.
  const GgufFile::Tensor* embedding = file.Find("token_embd.weight");
  if (embedding == nullptr || embedding->info.shape.size() != 2 ||
      embedding->info.shape[0] > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path(), ": tensor \"token_embd.weight\" is ",
        embedding == nullptr ? "missing" : ShapeToString(embedding->info.shape),
        ", needed is [vocabulary, hidden]"));
  }
  return static_cast<int>(embedding->info.shape[0]);
}

absl::Status ReadAttention(const GgufFile& file, ModelConfig* config) {
  ASSIGN_OR_RETURN(config->num_heads,
                   GetInt32(file, "llama.attention.head_count"));
  ASSIGN_OR_RETURN(
      config->num_kv_heads,
      GetInt32Or(file, "llama.attention.head_count_kv", config->num_heads));
  const int derived =
      config->num_heads > 0 ? config->hidden_size / config->num_heads : 0;
  ASSIGN_OR_RETURN(config->head_dim,
                   GetInt32Or(file, "llama.attention.key_length", derived));
  for (const char* key :
       {"llama.attention.value_length", "llama.rope.dimension_count"}) {
    ASSIGN_OR_RETURN(const int value, GetInt32Or(file, key, config->head_dim));
    if (value != config->head_dim) {
      return absl::UnimplementedError(
          absl::StrCat(file.path(), ": ", key, " is ", value, ", supported is ",
                       "the key length, ", config->head_dim));
    }
  }
  ASSIGN_OR_RETURN(config->rms_norm_eps,
                   file.GetFloat("llama.attention.layer_norm_rms_epsilon"));
  config->rms_norm_eps = ShortestDecimal(config->rms_norm_eps);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ModelConfigFromGguf(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string architecture,
                   file.GetString("general.architecture"));
  if (architecture != "llama") {
    return absl::UnimplementedError(absl::StrCat(
        file.path(), ": general.architecture is \"",
        PrintableName(architecture), "\", supported is \"llama\""));
  }
  if (file.Has("llama.expert_count")) {
    ASSIGN_OR_RETURN(const int experts, GetInt32(file, "llama.expert_count"));
    if (experts != 0) {
      return absl::UnimplementedError(
          absl::StrCat(file.path(), ": llama.expert_count is ", experts,
                       ", supported is 0"));
    }
  }
  ModelConfig config;
  ASSIGN_OR_RETURN(config.vocab_size, VocabularySize(file));
  ASSIGN_OR_RETURN(config.hidden_size,
                   GetInt32(file, "llama.embedding_length"));
  ASSIGN_OR_RETURN(config.intermediate_size,
                   GetInt32(file, "llama.feed_forward_length"));
  ASSIGN_OR_RETURN(config.num_layers, GetInt32(file, "llama.block_count"));
  ASSIGN_OR_RETURN(config.max_position_embeddings,
                   GetInt32(file, "llama.context_length"));
  ASSIGN_OR_RETURN(config.rope_theta,
                   GetFloatOr(file, "llama.rope.freq_base", 10000.0));
  RETURN_IF_ERROR(ReadAttention(file, &config));
  config.tie_word_embeddings = file.Find("output.weight") == nullptr;
  RETURN_IF_ERROR(ReadTokenIds(file, &config));
  RETURN_IF_ERROR(ValidateModelConfig(config, file.path()));
  RETURN_IF_ERROR(CheckRopeScalingType(file));
  RETURN_IF_ERROR(ReadRopeTable(file, &config));
  RETURN_IF_ERROR(ValidateModelConfig(config, file.path()));
  return config;
}

std::optional<std::string> GgufTensorName(absl::string_view name) {
  if (name == "model.embed_tokens.weight") return "token_embd.weight";
  if (name == "model.norm.weight") return "output_norm.weight";
  if (name == "lm_head.weight") return "output.weight";
  if (!absl::ConsumePrefix(&name, "model.layers.")) return std::nullopt;
  const size_t dot = name.find('.');
  if (dot == absl::string_view::npos) return std::nullopt;
  constexpr std::pair<const char*, const char*> kSuffixes[] = {
      {".input_layernorm.weight", ".attn_norm.weight"},
      {".self_attn.q_proj.weight", ".attn_q.weight"},
      {".self_attn.k_proj.weight", ".attn_k.weight"},
      {".self_attn.v_proj.weight", ".attn_v.weight"},
      {".self_attn.o_proj.weight", ".attn_output.weight"},
      {".post_attention_layernorm.weight", ".ffn_norm.weight"},
      {".mlp.gate_proj.weight", ".ffn_gate.weight"},
      {".mlp.up_proj.weight", ".ffn_up.weight"},
      {".mlp.down_proj.weight", ".ffn_down.weight"},
  };
  for (const auto& [huggingface, gguf] : kSuffixes) {
    if (name.substr(dot) == huggingface) {
      return absl::StrCat("blk.", name.substr(0, dot), gguf);
    }
  }
  return std::nullopt;
}

}  // namespace anyprec
