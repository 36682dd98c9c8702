#include "runtime/format/gguf_config.h"

#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

// The metadata of a small Llama with head_dim 64.
GgufBuilder TinyLlama() {
  GgufBuilder builder;
  builder.Text("general.architecture", "llama")
      .Uint32("llama.embedding_length", 128)
      .Uint32("llama.feed_forward_length", 256)
      .Uint32("llama.block_count", 3)
      .Uint32("llama.context_length", 512)
      .Uint32("llama.attention.head_count", 2)
      .Float32("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .Floats("token_embd.weight", {128, 4}, std::vector<float>(512));
  return builder;
}

class GgufConfigTest : public testing::Test {
 protected:
  absl::StatusOr<ModelConfig> Parse(const GgufBuilder& builder) {
    auto file = GgufFile::Open(folder_.Write("t.gguf", builder.Build()));
    EXPECT_TRUE(file.ok()) << file.status();
    if (!file.ok()) return file.status();
    return ModelConfigFromGguf(**file);
  }

  ScratchFolder folder_;
};

TEST_F(GgufConfigTest, ReadsHyperParametersWithTheirDefaults) {
  const auto config = Parse(TinyLlama());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->vocab_size, 4);
  EXPECT_EQ(config->hidden_size, 128);
  EXPECT_EQ(config->intermediate_size, 256);
  EXPECT_EQ(config->num_layers, 3);
  EXPECT_EQ(config->num_heads, 2);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->head_dim, 64);
  EXPECT_EQ(config->max_position_embeddings, 512);
  EXPECT_EQ(config->rms_norm_eps, 1e-5);  // not 9.99999974e-06
  EXPECT_EQ(config->rope_theta, 10000.0);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_FALSE(config->bos_token_id.has_value());
  EXPECT_TRUE(config->eos_token_ids.empty());
  EXPECT_FALSE(config->rope_scaling.has_value());
}

TEST_F(GgufConfigTest, EndOfTurnEndsAGenerationToo) {
  const auto config =
      Parse(TinyLlama()
                .Uint32("tokenizer.ggml.bos_token_id", 1)
                .Uint32("tokenizer.ggml.eos_token_id", 2)
                .Uint32("tokenizer.ggml.eot_token_id", 3)
                .Floats("output.weight", {128, 4}, std::vector<float>(512)));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->bos_token_id, 1);
  EXPECT_EQ(config->eos_token_ids, (std::vector<int32_t>{2, 3}));
  EXPECT_FALSE(config->tie_word_embeddings);
}

// The table as published for Llama 3.1 (theta 5e5), for head_dim 64 by the
// formula of the models' reference code, written here a second time.
std::vector<float> Llama3Table(float factor) {
  std::vector<float> table;
  for (int i = 0; i < 32; ++i) {
    const double wavelength = 2 * M_PI * std::pow(5e5, i / 32.0);
    double divisor = factor;
    if (wavelength < 8192.0 / 4) {
      divisor = 1;
    } else if (wavelength <= 8192.0) {
      const double smooth = (8192.0 / wavelength - 1) / (4.0 - 1);
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    table.push_back(static_cast<float>(divisor));
  }
  return table;
}

TEST_F(GgufConfigTest, FrequencyTablesOfLlama3BecomeItsParameters) {
  for (const float factor : {8.0f, 32.0f}) {
    const auto config =
        Parse(TinyLlama()
                  .Float32("llama.rope.freq_base", 5e5f)
                  .Floats("rope_freqs.weight", {32}, Llama3Table(factor)));
    ASSERT_TRUE(config.ok()) << config.status();
    ASSERT_TRUE(config->rope_scaling.has_value());
    EXPECT_EQ(config->rope_scaling->factor, factor);
    EXPECT_EQ(config->rope_scaling->original_max_position_embeddings, 8192);
  }
}

TEST_F(GgufConfigTest, ATableOfOnesIsNoScaling) {
  const auto config = Parse(TinyLlama().Floats("rope_freqs.weight", {32},
                                               std::vector<float>(32, 1.0f)));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->rope_scaling.has_value());
}

TEST_F(GgufConfigTest, FeaturesThatWeDoNotHaveAreNamed) {
  constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;
  ExpectError(
      Parse(GgufBuilder().Text("general.architecture", "qwen2")).status(),
      kUnimplemented, {"t.gguf", "\"qwen2\"", "\"llama\""});
  ExpectError(Parse(TinyLlama().Uint32("llama.expert_count", 8)).status(),
              kUnimplemented, {"llama.expert_count is 8"});
  ExpectError(
      Parse(TinyLlama().Uint32("llama.rope.dimension_count", 32)).status(),
      kUnimplemented, {"llama.rope.dimension_count is 32", "64"});
  ExpectError(Parse(TinyLlama()
                        .Text("llama.rope.scaling.type", "yarn")
                        .Float32("llama.rope.scaling.factor", 4.0f))
                  .status(),
              kUnimplemented, {"llama.rope.scaling.type is \"yarn\""});
  std::vector<float> table = Llama3Table(8.0f);
  table[3] = 1.5f;
  ExpectError(Parse(TinyLlama()
                        .Float32("llama.rope.freq_base", 5e5f)
                        .Floats("rope_freqs.weight", {32}, table))
                  .status(),
              kUnimplemented, {"rope_freqs.weight", "element 3 is 1.5"});
}

TEST_F(GgufConfigTest, MissingAndImpossibleValuesAreNamed) {
  ExpectError(Parse(GgufBuilder()).status(), absl::StatusCode::kNotFound,
              {"general.architecture"});
  ExpectError(
      Parse(GgufBuilder().Text("general.architecture", "llama")).status(),
      absl::StatusCode::kInvalidArgument, {"token_embd.weight", "missing"});
  GgufBuilder odd;
  odd.Text("general.architecture", "llama")
      .Uint32("llama.embedding_length", ~0u)
      .Floats("token_embd.weight", {1, 1}, {1});
  ExpectError(Parse(odd).status(), absl::StatusCode::kInvalidArgument,
              {"llama.embedding_length", "4294967295"});
  ExpectError(
      Parse(TinyLlama().Uint32("llama.attention.head_count_kv", 0)).status(),
      absl::StatusCode::kInvalidArgument, {"num_key_value_heads is 0"});
  ExpectError(
      Parse(TinyLlama().Uint32("tokenizer.ggml.eos_token_id", 4)).status(),
      absl::StatusCode::kInvalidArgument, {"eos_token_id is 4", "0 .. 3"});
  ExpectError(
      Parse(TinyLlama().Floats("rope_freqs.weight", {2}, {1, 1})).status(),
      absl::StatusCode::kInvalidArgument, {"rope_freqs.weight", "[2]", "[32]"});
}

TEST(GgufTensorNameTest, TranslatesHuggingFaceNames) {
  EXPECT_EQ(GgufTensorName("model.layers.12.mlp.down_proj.weight"),
            "blk.12.ffn_down.weight");
  EXPECT_EQ(GgufTensorName("lm_head.weight"), "output.weight");
  EXPECT_FALSE(GgufTensorName("model.layers.0.self_attn.q_proj.bias"));
  EXPECT_FALSE(GgufTensorName("model.layers.0"));
  EXPECT_FALSE(GgufTensorName(""));
}

}  // namespace
}  // namespace anyprec
