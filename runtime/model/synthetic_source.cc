#include "runtime/model/synthetic_source.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/bit_plane.h"
#include "kernels/check.h"
#include "kernels/random_layer.h"

namespace anyprec {

absl::StatusOr<ModelConfig> SyntheticModelConfig(absl::string_view name) {
  struct Shape {
    const char* name;
    int vocab_size, hidden_size, intermediate_size, num_layers;
    int num_heads, num_kv_heads, max_position_embeddings;
    double rope_theta;
    bool tied;
  };
  // As the models' own config.json files say; all have an epsilon of 1e-5.
  constexpr Shape kShapes[] = {
      {"tinyllama-1.1b", 32000, 2048, 5632, 22, 32, 4, 2048, 1e4, false},
      {"llama-2-7b", 32000, 4096, 11008, 32, 32, 32, 4096, 1e4, false},
      {"llama-2-13b", 32000, 5120, 13824, 40, 40, 40, 4096, 1e4, false},
      {"mistral-7b", 32000, 4096, 14336, 32, 32, 8, 32768, 1e6, false},
      {"llama-3.1-8b", 128256, 4096, 14336, 32, 32, 8, 131072, 5e5, false},
      {"smollm2-135m", 49152, 576, 1536, 30, 9, 3, 8192, 1e5, true},
  };
  std::vector<absl::string_view> names;
  for (const Shape& shape : kShapes) {
    names.push_back(shape.name);
    if (name != shape.name) continue;
    ModelConfig config;
    config.vocab_size = shape.vocab_size;
    config.hidden_size = shape.hidden_size;
    config.intermediate_size = shape.intermediate_size;
    config.num_layers = shape.num_layers;
    config.num_heads = shape.num_heads;
    config.num_kv_heads = shape.num_kv_heads;
    config.head_dim = shape.hidden_size / shape.num_heads;
    config.max_position_embeddings = shape.max_position_embeddings;
    config.rope_theta = shape.rope_theta;
    config.tie_word_embeddings = shape.tied;
    config.bos_token_id = 1;
    config.eos_token_ids = {2};
    if (name == "llama-3.1-8b") {
      config.rope_scaling = Llama3RopeScaling{};
      config.bos_token_id = 128000;
      config.eos_token_ids = {128001, 128008, 128009};
    }
    return config;
  }
  return absl::NotFoundError(
      absl::StrCat("no synthetic model \"", name,
                   "\", there are: ", absl::StrJoin(names, ", ")));
}

SyntheticSource::SyntheticSource(const ModelConfig& config, int max_bits)
    : config_(config), max_bits_(max_bits) {
  ANYPREC_CHECK((max_bits >= kSeedBits && max_bits <= kMaxBits) ||
                max_bits == kUnquantizedBits)
      << max_bits;
}

absl::StatusOr<std::unique_ptr<LinearWeights>> SyntheticSource::LoadStack(
    std::span<const LinearSpec> specs, Backend& backend) {
  RandomLayer layer = {.n = 0, .k = specs[0].k, .seed = next_seed_++};
  for (const LinearSpec& spec : specs) layer.n += spec.n;
  return max_bits_ == kUnquantizedBits
             ? backend.LoadRandomDense(layer, DenseMatrix::Type::kFloat16)
             : backend.LoadRandomBitPlanes(layer, kSeedBits, max_bits_);
}

absl::StatusOr<std::unique_ptr<LinearWeights>> SyntheticSource::LoadDense(
    const LinearSpec& spec, Backend& backend) {
  const RandomLayer layer = {.n = spec.n, .k = spec.k, .seed = next_seed_++};
  return backend.LoadRandomDense(layer, max_bits_ == kUnquantizedBits
                                            ? DenseMatrix::Type::kFloat16
                                            : DenseMatrix::Type::kInt8);
}

absl::StatusOr<std::vector<float>> SyntheticSource::LoadNorm(
    absl::string_view /*name*/, int n) {
  return std::vector<float>(n, 1.0f);
}

}  // namespace anyprec
