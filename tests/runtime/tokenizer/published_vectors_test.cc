// Published tokenizers against published answers. They belong to the optional
// data, without which these tests are skipped.
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "runtime/tokenizer/sentencepiece_library.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/tokenizer/test_files.h"

namespace anyprec {
namespace {

using Ids = std::vector<TokenId>;

std::unique_ptr<Tokenizer> Load(const std::string& path) {
  auto tokenizer = Tokenizer::Load(path);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// llama.cpp's format: texts between marker lines, a line of ids for each.
void ExpectVectors(const Tokenizer& tokenizer, const std::string& prefix) {
  const std::string input = ReadText(prefix + ".inp");
  const std::vector<std::string> texts =
      absl::StrSplit(input, "\n__ggml_vocab_test__\n");
  const std::string output = ReadText(prefix + ".out");
  const std::vector<std::string> lines = absl::StrSplit(output, '\n');
  ASSERT_GE(texts.size(), 40u);
  ASSERT_GE(lines.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    Ids expected;
    for (const auto number : absl::StrSplit(lines[i], ' ', absl::SkipEmpty())) {
      ASSERT_TRUE(absl::SimpleAtoi(number, &expected.emplace_back()));
    }
    const auto ids = tokenizer.Encode(texts[i], {.add_special = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, expected) << texts[i];
    EXPECT_EQ(tokenizer.Decode(*ids, true), texts[i]);
  }
}

// expected.json of a model: prompts, and ids with BOS.
void ExpectPrompts(const Tokenizer& tokenizer, const std::string& path) {
  const auto golden = nlohmann::json::parse(ReadText(path));
  ASSERT_FALSE(golden["cases"].empty());
  for (const auto& entry : golden["cases"]) {
    const auto ids = tokenizer.Encode(entry["prompt"].get<std::string>(), {});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, entry["prompt_ids"].get<Ids>());
  }
}

#define SKIP_WITHOUT_DATA()                                        \
  if (!SharedData("").has_value()) {                               \
    GTEST_SKIP() << "ANYPREC_TEST_DATA names no folder of models"; \
  }
#define SKIP_WITHOUT_SENTENCEPIECE()                          \
  if (!SentencePieceModel::IsAvailable()) {                   \
    GTEST_SKIP() << "this build leaves libsentencepiece out"; \
  }

TEST(PublishedVectorsTest, Gpt2) {
  SKIP_WITHOUT_DATA();
  const auto tokenizer = Load(*SharedData("tokenizers/gpt2"));
  ASSERT_NE(tokenizer, nullptr);
  ExpectVectors(*tokenizer,
                *SharedData("tokenizers/gpt2/ggml-vocab-gpt-2.gguf"));
}

TEST(PublishedVectorsTest, Llama2AsSentencePieceModelAndAsGguf) {
  SKIP_WITHOUT_DATA();
  SKIP_WITHOUT_SENTENCEPIECE();
  const std::string folder = *SharedData("tokenizers/llama2");
  const std::string gguf = folder + "/ggml-vocab-llama-spm.gguf";
  for (const std::string& path : {folder, gguf}) {
    const auto tokenizer = Load(path);
    ASSERT_NE(tokenizer, nullptr);
    ExpectVectors(*tokenizer, gguf);
    EXPECT_EQ(tokenizer->Encode("", {})->front(), 1);
  }
}

TEST(PublishedVectorsTest, TinyStories656K) {
  SKIP_WITHOUT_DATA();
  const std::string folder = *SharedData("models/TinyStories-656K");
  const auto tokenizer = Load(folder);
  ASSERT_NE(tokenizer, nullptr);
  ExpectPrompts(*tokenizer, folder + "/expected.json");
  EXPECT_EQ(tokenizer->eos_ids(), (Ids{2}));
}

TEST(PublishedVectorsTest, Stories260K) {
  SKIP_WITHOUT_DATA();
  SKIP_WITHOUT_SENTENCEPIECE();
  const std::string model = *SharedData("models/stories260K");
  const std::string folder = MakeTestFolder("stories260K");
  std::filesystem::copy_file(model + "/tok512.model",
                             folder + "/tokenizer.model");
  const auto tokenizer = Load(folder);
  ASSERT_NE(tokenizer, nullptr);
  ExpectPrompts(*tokenizer, model + "/expected.json");
}

TEST(PublishedVectorsTest, MistralsControlTokens) {
  SKIP_WITHOUT_DATA();
  SKIP_WITHOUT_SENTENCEPIECE();
  const std::string folder = MakeTestFolder("mistral");
  std::filesystem::copy_file(
      *SharedData("tokenizers/mistral/"
                  "mistral_instruct_tokenizer_240323.model.v3"),
      folder + "/tokenizer.model");
  const auto tokenizer = Load(folder);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 32768);
  EXPECT_EQ(tokenizer->FindControl("[INST]"), 3);
  EXPECT_EQ(*tokenizer->Encode("[INST]", {.parse_special = true}), (Ids{1, 3}));
}

// As many tokens as HuggingFace's tokenizer makes of it, and the text again.
TEST(PublishedVectorsTest, SmolLm2OnWikiText2) {
  SKIP_WITHOUT_DATA();
  const char* gguf = std::getenv("ANYPREC_SMOLLM2_GGUF");
  if (gguf == nullptr) {
    GTEST_SKIP() << "ANYPREC_SMOLLM2_GGUF names no GGUF file of SmolLM2";
  }
  const auto tokenizer = Load(gguf);
  ASSERT_NE(tokenizer, nullptr);
  const std::string text =
      ReadText(*SharedData("eval/wikitext-2/wiki.test.raw"));
  const auto ids = tokenizer->Encode(text, {});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->size(), 303415u);
  EXPECT_EQ(tokenizer->Decode(*ids, true), text);
}

}  // namespace
}  // namespace anyprec
