#include "runtime/model/model_config.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/model/synthetic_source.h"

namespace anyprec {
namespace {

using testing::HasSubstr;

// A valid configuration with `fields` added.
std::string Config(const std::string& fields) {
  return absl::StrCat(R"({"model_type": "llama", "vocab_size": 100,
      "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
      "num_attention_heads": 4)",
                      fields.empty() ? "" : ", ", fields, "}");
}

TEST(ModelConfigTest, AbsentFieldsTakeTheDefaultsOfLlamaConfig) {
  const auto config = ParseModelConfig(Config(""), "f");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->num_kv_heads, 4);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->max_position_embeddings, 2048);
  EXPECT_EQ(config->rms_norm_eps, 1e-6);
  EXPECT_EQ(config->rope_theta, 10000.0);
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_EQ(config->bos_token_id, 1);
  EXPECT_EQ(config->eos_token_ids, std::vector<int32_t>{2});
  EXPECT_FALSE(config->rope_scaling.has_value());
  EXPECT_FALSE(config->quantization.has_value());
}

TEST(ModelConfigTest, NullMeansAbsentOrNone) {
  const auto config = ParseModelConfig(
      Config(R"("head_dim": null, "rope_scaling": null, "bos_token_id": null,
                "eos_token_id": null, "sliding_window": null)"),
      "f");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_FALSE(config->bos_token_id.has_value());
  EXPECT_TRUE(config->eos_token_ids.empty());
}

TEST(ModelConfigTest, EndOfTextMayBeAList) {
  const auto config =
      ParseModelConfig(Config(R"("eos_token_id": [5, 7])"), "f");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->eos_token_ids, (std::vector<int32_t>{5, 7}));
}

TEST(ModelConfigTest, HeadDimMayDifferFromHiddenOverHeads) {
  const auto config = ParseModelConfig(Config(R"("head_dim": 32)"), "f");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->head_dim, 32);
}

TEST(ModelConfigTest, Llama3ScalingIsReadUnderEitherName) {
  const std::string fields = R"({"rope_type": "llama3", "rope_theta": 500000.0,
      "factor": 32, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 4096})";
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const auto config =
        ParseModelConfig(Config(absl::StrCat("\"", name, "\": ", fields)), "f");
    ASSERT_TRUE(config.ok()) << config.status();
    ASSERT_TRUE(config->rope_scaling.has_value());
    EXPECT_EQ(config->rope_scaling->factor, 32.0);
    EXPECT_EQ(config->rope_scaling->original_max_position_embeddings, 4096);
    EXPECT_EQ(config->rope_theta, 500000.0);
  }
}

TEST(ModelConfigTest, WhatIsWrittenIsReadBack) {
  auto config = *SyntheticModelConfig("llama-3.1-8b");
  for (const auto& [scheme, group_size] :
       {std::pair("iu", -1), std::pair("bcq", 128)}) {
    config.quantization =
        QuantizationConfig{scheme, 3, 8, group_size, "activation", "int8", "1"};
    const std::string json = ModelConfigToJson(config);
    const auto again = ParseModelConfig(json, "f");
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(ModelConfigToJson(*again), json);
    EXPECT_EQ(again->eos_token_ids, config.eos_token_ids);
    ASSERT_TRUE(again->quantization.has_value());
    EXPECT_EQ(again->quantization->scheme, scheme);
    EXPECT_EQ(again->quantization->parent_bits, 8);
    EXPECT_EQ(again->quantization->group_size, group_size);
    EXPECT_EQ(again->quantization->sensitivity, "activation");
    EXPECT_THAT(json, HasSubstr("\"quant_method\": \"anyprec\""));
  }
}

TEST(ModelConfigTest, BytesThatAreNoUtf8AreWrittenWithoutThrowing) {
  auto config = *SyntheticModelConfig("smollm2-135m");
  config.quantization = QuantizationConfig{"iu", 3, 8, -1, "\xff", "int8", "1"};
  EXPECT_TRUE(ParseModelConfig(ModelConfigToJson(config), "f").ok());
}

TEST(ModelConfigTest, WrongFieldsAreNamedWithValueFoundAndNeeded) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("head_dim": "x")", "f: head_dim is \"x\", needed is an integer"},
      {R"("head_dim": 1.5)", "head_dim is 1.5, needed is an integer"},
      {R"("head_dim": 99999999999)", "head_dim is 99999999999"},
      {R"("head_dim": 18446744073709551615)", "head_dim is 18446744073709551"},
      {R"("head_dim": 7)", "head_dim is 7, needed is a multiple of 2"},
      {R"("head_dim": 0)", "head_dim is 0, needed is 2 .."},
      {R"("num_key_value_heads": 3)",
       "num_attention_heads is 4, needed is a multiple of 3"},
      {R"("num_key_value_heads": 0)", "num_key_value_heads is 0"},
      {R"("rms_norm_eps": -1)", "rms_norm_eps is -1"},
      {R"("rms_norm_eps": true)", "rms_norm_eps is true, needed is a number"},
      {R"("rope_theta": 0)", "rope_theta is 0"},
      {R"("tie_word_embeddings": 1)", "needed is true or false"},
      {R"("bos_token_id": 100)", "bos_token_id is 100, needed is 0 .. 99"},
      {R"("eos_token_id": [2, "x"])", "eos_token_id is [2,\"x\"]"},
      {R"("eos_token_id": -1)", "eos_token_id is -1"},
      {R"("max_position_embeddings": 0)", "max_position_embeddings is 0"},
      {R"("max_position_embeddings": 2147483647)",
       "max_position_embeddings is 2147483647"},
      {R"("rope_scaling": 2)", "rope_scaling is 2, needed is an object"},
      {R"("rope_scaling": {"rope_type": "llama3"})",
       "rope_scaling.factor is missing"},
      {R"("rope_scaling": {"rope_type": "llama3", "factor": 0,
           "low_freq_factor": 1, "high_freq_factor": 4,
           "original_max_position_embeddings": 1})",
       "rope_scaling.factor is 0"},
      {R"("rope_scaling": {"rope_type": "llama3", "factor": 8,
           "low_freq_factor": 4, "high_freq_factor": 4,
           "original_max_position_embeddings": 1})",
       "rope_scaling.high_freq_factor is 4, needed is more than"},
      {R"("quantization_config": {})", "quant_method is missing"},
      {R"("quantization_config": {"quant_method": "anyprec", "scheme": "iu"})",
       "quantization_config.seed_bits is missing"},
      {R"("quantization_config": {"quant_method": "anyprec", "scheme": "iu",
           "seed_bits": 3, "parent_bits": 9})",
       "parent_bits is 9, needed is 2 .. 8"},
      {R"("quantization_config": {"quant_method": "anyprec", "scheme": "iu",
           "seed_bits": 5, "parent_bits": 4})",
       "seed_bits is 5, needed is 2 .. 4"},
      {R"("quantization_config": {"quant_method": "anyprec", "scheme": "iu",
           "seed_bits": 3, "parent_bits": 4, "lm_head": "int3"})",
       "lm_head is \"int3\""},
      {R"("quantization_config": {"quant_method": "anyprec", "scheme": "bcq",
           "seed_bits": 3, "parent_bits": 4})",
       "quantization_config.group_size is missing, needed is an integer"},
      {R"("quantization_config": {"quant_method": "anyprec", "scheme": "bcq",
           "group_size": 1048608, "seed_bits": 3, "parent_bits": 4})",
       "quantization_config.group_size is 1048608, needed is 32 .. 1048576"},
      {R"("quantization_config": {"quant_method": "anyprec", "scheme": "bcq",
           "group_size": 48, "seed_bits": 3, "parent_bits": 4})",
       "quantization_config.group_size is 48, needed is a multiple of 32"},
      {R"("quantization_config": {"quant_method": "anyprec", "scheme": "bcq",
           "group_size": "all", "seed_bits": 3, "parent_bits": 4})",
       "quantization_config.group_size is \"all\", needed is an integer"},
  };
  for (const auto& [fields, message] : cases) {
    const absl::Status status = ParseModelConfig(Config(fields), "f").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << fields;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(ModelConfigTest, FeaturesThatWeDoNotHaveAreUnimplemented) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("attention_bias": true)", "f: attention_bias is true"},
      {R"("mlp_bias": true)", "mlp_bias is true"},
      {R"("hidden_act": "gelu")", "hidden_act is \"gelu\""},
      {R"("rope_scaling": {"type": "yarn", "factor": 2})",
       "rope_scaling.type is \"yarn\""},
      {R"("sliding_window": 1024)", "sliding_window is 1024"},
      {R"("partial_rotary_factor": 0.5)", "partial_rotary_factor is 0.5"},
      {R"("quantization_config": {"quant_method": "gptq"})",
       "quantization_config.quant_method is \"gptq\""},
      {R"("quantization_config": {"quant_method": "anyprec", "scheme": "rtn",
           "seed_bits": 3, "parent_bits": 4})",
       "quantization_config.scheme is \"rtn\", supported is \"iu\" or \"bcq\""},
      {R"("quantization_config": {"quant_method": "anyprec", "scheme": "iu",
           "group_size": 128, "seed_bits": 3, "parent_bits": 4})",
       "quantization_config.group_size is 128, supported is -1"},
  };
  for (const auto& [fields, message] : cases) {
    const absl::Status status = ParseModelConfig(Config(fields), "f").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << fields;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  const absl::Status other =
      ParseModelConfig(R"({"model_type": "gpt2"})", "f").status();
  EXPECT_EQ(other.code(), absl::StatusCode::kUnimplemented) << other;
}

TEST(ModelConfigTest, MissingFieldsAndMalformedTextAreNamed) {
  for (const auto& [text, message] :
       std::vector<std::pair<std::string, std::string>>{
           {"{}", "f: model_type is missing"},
           {R"({"model_type": "llama"})", "f: vocab_size is missing"},
           {"", "f: not valid JSON"},
           {std::string(100000, '['), "f: "},
       }) {
    const absl::Status status = ParseModelConfig(text, "f").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(ModelConfigTest, RowsOfPlanesAreWholeWords) {
  const std::string quantized = R"("head_dim": 12, "quantization_config":
      {"quant_method": "anyprec", "scheme": "iu", "seed_bits": 3,
       "parent_bits": 4})";
  const absl::Status status = ParseModelConfig(Config(quantized), "f").status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("num_attention_heads * head_dim is 48, needed is a "
                        "multiple of 32"));
}

TEST(ModelConfigTest, SyntheticShapesAreValid) {
  for (const char* name : {"tinyllama-1.1b", "llama-2-7b", "llama-2-13b",
                           "mistral-7b", "llama-3.1-8b", "smollm2-135m"}) {
    const auto config = SyntheticModelConfig(name);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_TRUE(ValidateModelConfig(*config, name).ok());
  }
  const absl::Status status = SyntheticModelConfig("gpt-5").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("smollm2-135m"));
}

}  // namespace
}  // namespace anyprec
