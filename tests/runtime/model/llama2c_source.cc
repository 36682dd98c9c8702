#include "tests/runtime/model/llama2c_source.h"

#include <array>
#include <cstdint>
#include <fstream>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "runtime/model/llama_model.h"

namespace anyprec {
namespace {

// llama2.c rotates neighbouring elements of a head; HuggingFace's layout, which
// the backends expect, rotates element i with element i + head_dim / 2.
std::vector<float> SplitRotaryPairs(const std::vector<float>& rows,
                                    int head_dim, int k) {
  std::vector<float> result;
  result.reserve(rows.size());
  const int heads = static_cast<int>(rows.size()) / (head_dim * k);
  for (int head = 0; head < heads; ++head) {
    for (int half = 0; half < 2; ++half) {
      for (int pair = 0; pair < head_dim / 2; ++pair) {
        const auto row = rows.begin() + (head * head_dim + 2 * pair + half) * k;
        result.insert(result.end(), row, row + k);
      }
    }
  }
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Llama2cSource>> Llama2cSource::Open(
    const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<int32_t, 7> header;
  if (!file.read(reinterpret_cast<char*>(header.data()), sizeof(header))) {
    return absl::NotFoundError(absl::StrCat(path, ": no llama2.c header"));
  }
  const int dim = header[0], inner = header[1], layers = header[2];
  const int heads = header[3], kv_heads = header[4];
  auto source = absl::WrapUnique(new Llama2cSource);
  ModelConfig& config = source->config_;
  config.vocab_size = header[5];
  config.hidden_size = dim;
  config.intermediate_size = inner;
  config.num_layers = layers;
  config.num_heads = heads;
  config.num_kv_heads = kv_heads;
  config.head_dim = dim / heads;
  config.max_position_embeddings = header[6];
  config.tie_word_embeddings = true;

  const auto read = [&](const std::string& name, int n, int k) {
    std::vector<float> values(static_cast<size_t>(n) * k);
    file.read(reinterpret_cast<char*>(values.data()),
              static_cast<std::streamsize>(values.size() * sizeof(float)));
    source->tensors_[name] = std::move(values);
  };
  const auto read_layers = [&](const std::string& name, int n, int k) {
    for (int i = 0; i < layers; ++i) {
      read(absl::StrCat("model.layers.", i, ".", name), n, k);
    }
  };
  const int kv_size = kv_heads * config.head_dim;
  read("model.embed_tokens", config.vocab_size, dim);
  read_layers("input_layernorm", 1, dim);
  read_layers("self_attn.q_proj", dim, dim);
  read_layers("self_attn.k_proj", kv_size, dim);
  read_layers("self_attn.v_proj", kv_size, dim);
  read_layers("self_attn.o_proj", dim, dim);
  read_layers("post_attention_layernorm", 1, dim);
  read_layers("mlp.gate_proj", inner, dim);
  read_layers("mlp.down_proj", dim, inner);
  read_layers("mlp.up_proj", inner, dim);
  read("model.norm", 1, dim);
  if (!file) return absl::DataLossError(absl::StrCat(path, ": truncated"));

  for (int i = 0; i < layers; ++i) {
    for (const char* name : {"q_proj", "k_proj"}) {
      std::vector<float>& rows =
          source
              ->tensors_[absl::StrCat("model.layers.", i, ".self_attn.", name)];
      rows = SplitRotaryPairs(rows, config.head_dim, dim);
    }
  }
  return source;
}

int Llama2cSource::min_bits() const { return kUnquantizedBits; }
int Llama2cSource::max_bits() const { return kUnquantizedBits; }

absl::StatusOr<std::unique_ptr<LinearWeights>> Llama2cSource::LoadStack(
    std::span<const LinearSpec> specs, Backend& backend) {
  std::vector<DenseMatrix> parts;
  for (const LinearSpec& spec : specs) {
    parts.push_back({.type = DenseMatrix::Type::kFloat32,
                     .data = tensors_.at(spec.name).data(),
                     .n = spec.n,
                     .k = spec.k});
  }
  return backend.LoadDense(parts);
}

absl::StatusOr<std::unique_ptr<LinearWeights>> Llama2cSource::LoadDense(
    const LinearSpec& spec, Backend& backend) {
  return LoadStack({&spec, 1}, backend);
}

absl::StatusOr<std::vector<float>> Llama2cSource::LoadNorm(
    absl::string_view name, int /*n*/) {
  return tensors_.at(std::string(name));
}

}  // namespace anyprec
