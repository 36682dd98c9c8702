#include "runtime/model/synthetic_source.h"

#include <cmath>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/check.h"

namespace anyprec {
namespace {

// Inverts the normal distribution function by bisection. 40 halvings of
// [-8, 8] are beyond fp32; this runs 504 times in all.
double NormalQuantile(double probability) {
  double low = -8, high = 8;
  for (int i = 0; i < 40; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < probability ? low : high) =
        middle;
  }
  return low;
}

// One linear layer's planes and codebooks, and the views of them.
struct RandomLinear {
  std::vector<std::vector<uint32_t>> planes;
  std::vector<const uint32_t*> plane_pointers;
  std::vector<std::vector<Float16>> centroids;
  std::vector<Codebook> codebooks;
};

}  // namespace

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
  ANYPREC_CHECK(max_bits >= kSeedBits && max_bits <= kMaxBits) << max_bits;
  for (int bits = kSeedBits; bits <= max_bits; ++bits) {
    const int count = 1 << bits;
    for (int i = 0; i < count; ++i) {
      levels_[bits].push_back(
          static_cast<float>(NormalQuantile((i + 0.5) / count)));
    }
  }
}

// splitmix64 (Steele et al., OOPSLA 2014): statistically sound, and fast enough
// to fill 7 GB of planes in seconds.
uint64_t SyntheticSource::NextRandom() {
  uint64_t z = random_state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

absl::StatusOr<std::unique_ptr<LinearWeights>> SyntheticSource::LoadStack(
    std::span<const LinearSpec> specs, Backend& backend) {
  std::vector<RandomLinear> linears(specs.size());
  std::vector<QuantizedLinear> parts;
  for (size_t i = 0; i < specs.size(); ++i) {
    const LinearSpec& spec = specs[i];
    RandomLinear& linear = linears[i];
    const size_t words = static_cast<size_t>(spec.n) * spec.k / 32;
    for (int plane = 0; plane < max_bits_; ++plane) {
      auto& bits = linear.planes.emplace_back(words);
      for (uint32_t& word : bits) word = static_cast<uint32_t>(NextRandom());
      linear.plane_pointers.push_back(bits.data());
    }
    // Scale 1 / sqrt(k) keeps activations of unit variance from layer to layer.
    const float scale = 1 / std::sqrt(static_cast<float>(spec.k));
    for (int precision = kSeedBits; precision <= max_bits_; ++precision) {
      auto& values = linear.centroids.emplace_back();
      values.reserve(static_cast<size_t>(spec.n) << precision);
      for (int row = 0; row < spec.n; ++row) {
        for (const float level : levels_[precision]) {
          values.push_back(ToFloat16(level * scale));
        }
      }
      linear.codebooks.push_back({.precision = precision, .data = values});
    }
    parts.push_back(
        {.matrix = {.planes = linear.plane_pointers, .n = spec.n, .k = spec.k},
         .codebooks = linear.codebooks});
  }
  return backend.LoadBitPlanes(parts);
}

absl::StatusOr<std::unique_ptr<LinearWeights>> SyntheticSource::LoadDense(
    const LinearSpec& spec, Backend& backend) {
  std::vector<int8_t> values(static_cast<size_t>(spec.n) * spec.k);
  for (int8_t& value : values) {
    value = static_cast<int8_t>(static_cast<int>(NextRandom() % 255) - 127);
  }
  // Uniform in [-127, 127] has a standard deviation of 73.
  const float scale = 1 / (73 * std::sqrt(static_cast<float>(spec.k)));
  const std::vector<float> scales(spec.n, scale);
  const DenseMatrix matrix = {.type = DenseMatrix::Type::kInt8,
                              .data = values.data(),
                              .row_scales = scales,
                              .n = spec.n,
                              .k = spec.k};
  return backend.LoadDense({&matrix, 1});
}

absl::StatusOr<std::vector<float>> SyntheticSource::LoadNorm(
    absl::string_view /*name*/, int n) {
  return std::vector<float>(n, 1.0f);
}

}  // namespace anyprec
