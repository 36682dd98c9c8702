// Small random checkpoints as HuggingFace folders, and folders to put them in.
#ifndef ANYPREC_TESTS_QUANTIZE_TINY_CHECKPOINT_H_
#define ANYPREC_TESTS_QUANTIZE_TINY_CHECKPOINT_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/format/safetensors_writer.h"
#include "runtime/format/tensor.h"
#include "runtime/model/model_config.h"

namespace anyprec {

// A folder that dies with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = absl::StrCat(testing::TempDir(), "/quantize-XXXXXX");
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const {
    return absl::StrCat(path_, "/", name);
  }

 private:
  std::string path_;
};

inline void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Every regular file of a folder, by name.
inline std::map<std::string, std::string> ReadFolder(const std::string& path) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    files[entry.path().filename().string()] = ReadFile(entry.path().string());
  }
  return files;
}

struct FloatTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using FloatTensors = std::map<std::string, FloatTensor>;

// "<folder>/model.safetensors" of F32 tensors.
inline void WriteSafetensors(const std::string& folder,
                             const FloatTensors& tensors) {
  std::filesystem::create_directories(folder);
  std::vector<SafetensorsWriter::TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) {
    specs.push_back({{name, DType::kF32, tensor.shape}, 0});
  }
  auto writer = SafetensorsWriter::Create(folder, specs, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const auto& [name, tensor] : tensors) {
    const absl::Status status =
        (*writer)->Append(name, std::as_bytes(std::span(tensor.values)));
    ASSERT_TRUE(status.ok()) << status;
  }
  const absl::Status status = (*writer)->Finish();
  ASSERT_TRUE(status.ok()) << status;
}

inline ModelConfig TinyConfig() {
  ModelConfig config;
  config.vocab_size = 40;
  config.hidden_size = 32;
  config.intermediate_size = 96;
  config.num_layers = 3;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_position_embeddings = 64;
  config.tie_word_embeddings = false;
  return config;
}

// Random tensors of TinyConfig() under HuggingFace's names.
inline FloatTensors TinyTensors() {
  const ModelConfig config = TinyConfig();
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  const int64_t q = int64_t{config.num_heads} * config.head_dim;
  const int64_t kv = int64_t{config.num_kv_heads} * config.head_dim;
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, 0.1f);
  FloatTensors tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    FloatTensor& tensor = tensors[name];
    tensor.shape = std::move(shape);
    for (int64_t i = 0; i < count; ++i) tensor.values.push_back(normal(random));
  };
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    add(prefix + "self_attn.q_proj.weight", {q, hidden});
    add(prefix + "self_attn.k_proj.weight", {kv, hidden});
    add(prefix + "self_attn.v_proj.weight", {kv, hidden});
    add(prefix + "self_attn.o_proj.weight", {hidden, q});
    add(prefix + "mlp.gate_proj.weight", {inner, hidden});
    add(prefix + "mlp.up_proj.weight", {inner, hidden});
    add(prefix + "mlp.down_proj.weight", {hidden, inner});
    add(prefix + "input_layernorm.weight", {hidden});
    add(prefix + "post_attention_layernorm.weight", {hidden});
  }
  add("model.embed_tokens.weight", {config.vocab_size, hidden});
  add("model.norm.weight", {hidden});
  add("lm_head.weight", {config.vocab_size, hidden});
  return tensors;
}

// A checkpoint folder of `config` and `tensors`.
inline void WriteCheckpoint(const std::string& folder,
                            const ModelConfig& config,
                            const FloatTensors& tensors) {
  WriteSafetensors(folder, tensors);
  WriteFile(absl::StrCat(folder, "/config.json"), ModelConfigToJson(config));
}

}  // namespace anyprec

#endif  // ANYPREC_TESTS_QUANTIZE_TINY_CHECKPOINT_H_
