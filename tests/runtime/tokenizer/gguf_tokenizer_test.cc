#include "runtime/tokenizer/gguf_tokenizer.h"

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "runtime/tokenizer/byte_token.h"
#include "runtime/tokenizer/sentencepiece_library.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/tokenizer/gguf_writer.h"
#include "tests/runtime/tokenizer/test_files.h"

namespace anyprec {
namespace {

using Ids = std::vector<TokenId>;
using Code = absl::StatusCode;

GgufWriter ByteLevelVocabulary() {
  GgufWriter gguf;
  gguf.SetString("tokenizer.ggml.model", "gpt2");
  gguf.SetString("tokenizer.ggml.pre", "smollm");
  gguf.SetStrings("tokenizer.ggml.tokens",
                  {"<|endoftext|>", "<|im_end|>", "a", "b", "\u0120", "1", "ab",
                   "11", "pad", "plus"});
  gguf.SetInts("tokenizer.ggml.token_type", {3, 3, 1, 1, 1, 1, 1, 1, 5, 4});
  gguf.SetStrings("tokenizer.ggml.merges", {"a b", "1 1"});
  gguf.SetUint("tokenizer.ggml.bos_token_id", 0);
  gguf.SetUint("tokenizer.ggml.eos_token_id", 0);
  gguf.SetString("tokenizer.chat_template", "<|im_start|>");
  return gguf;
}

// Bytes are ids 3 to 258.
GgufWriter SentencePieceVocabulary() {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(ByteTokenText(static_cast<uint8_t>(byte)));
    types.push_back(6);
  }
  std::vector<float> scores(tokens.size(), 0.0f);
  for (const char* text : {"\u2581ab", "ab", "\u2581", "a", "b"}) {
    scores.push_back(-static_cast<float>(tokens.size()));
    tokens.push_back(text);
    types.push_back(1);
  }
  GgufWriter gguf;
  gguf.SetString("tokenizer.ggml.model", "llama");
  gguf.SetStrings("tokenizer.ggml.tokens", tokens);
  gguf.SetInts("tokenizer.ggml.token_type", types);
  gguf.SetFloats("tokenizer.ggml.scores", scores);
  return gguf;
}

class GgufTokenizerTest : public testing::Test {
 protected:
  GgufTokenizerTest() : folder_(MakeTestFolder("gguf_tokenizer")) {}

  absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const GgufWriter& gguf) {
    WriteText(folder_ + "/tokenizer.gguf", gguf.Serialize());
    return Tokenizer::Load(folder_);
  }
  void ExpectError(const GgufWriter& gguf, Code code,
                   const std::string& field) {
    const absl::Status status = Load(gguf).status();
    EXPECT_EQ(status.code(), code) << field << ": " << status;
    EXPECT_TRUE(absl::StrContains(status.message(), field)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), folder_)) << status;
  }

  const std::string folder_;
};

TEST_F(GgufTokenizerTest, ReadsAByteLevelVocabulary) {
  const auto tokenizer = Load(ByteLevelVocabulary());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  // Digits are cut apart; merges of them never come about.
  EXPECT_EQ(*(*tokenizer)->Encode("ab 11plus", {}), (Ids{6, 4, 5, 5, 9}));
  EXPECT_EQ(*(*tokenizer)->Encode("a<|im_end|>", {.parse_special = true}),
            (Ids{2, 1}));
  EXPECT_EQ((*tokenizer)->Decode(Ids{6, 4, 1, 9}, true), "ab plus");
  EXPECT_EQ((*tokenizer)->Decode(Ids{6, 1}, false), "ab<|im_end|>");
  EXPECT_EQ((*tokenizer)->eos_ids(), (Ids{0, 1}));
  EXPECT_EQ((*tokenizer)->TokenBytes(8), "");
  EXPECT_EQ((*tokenizer)->special().chat_template, "<|im_start|>");
}

TEST_F(GgufTokenizerTest, AddsBosWhereTheFileOrTheModelSaysSo) {
  GgufWriter gguf = ByteLevelVocabulary();
  EXPECT_EQ(*(*Load(gguf))->Encode("a", {}), (Ids{2}));
  gguf.SetBool("tokenizer.ggml.add_bos_token", true);
  EXPECT_EQ(*(*Load(gguf))->Encode("a", {}), (Ids{0, 2}));
  EXPECT_EQ(*(*Load(gguf))->Encode("a", {.add_special = false}), (Ids{2}));
  gguf.Remove("tokenizer.ggml.add_bos_token");
  gguf.SetString("tokenizer.ggml.pre", "llama-bpe");
  EXPECT_EQ(*(*Load(gguf))->Encode("a11", {}), (Ids{0, 2, 7}));
}

TEST_F(GgufTokenizerTest, ReadsASentencePieceVocabulary) {
  if (!SentencePieceModel::IsAvailable()) {
    GTEST_SKIP() << "this build leaves libsentencepiece out";
  }
  const auto tokenizer = Load(SentencePieceVocabulary());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const Ids ids = {1, 259, 261, 262, 3 + 0xC3, 3 + 0xA9};
  EXPECT_EQ(*(*tokenizer)->Encode("ab a\u00E9", {}), ids);
  EXPECT_EQ((*tokenizer)->Decode(ids, true), "ab a\u00E9");
  EXPECT_EQ(*(*tokenizer)->Encode("ab</s>b", {.parse_special = true}),
            (Ids{1, 259, 2, 261, 263}));
  EXPECT_EQ((*tokenizer)->eos_ids(), (Ids{2}));
}

TEST_F(GgufTokenizerTest, NamesTheKeyThatIsMalformed) {
  const auto expect = [&](Code code, const std::string& field,
                          const std::function<void(GgufWriter&)>& change) {
    GgufWriter gguf = ByteLevelVocabulary();
    change(gguf);
    ExpectError(gguf, code, field);
  };
  expect(Code::kUnimplemented, "tokenizer.ggml.model: \"bert\"",
         [](auto& g) { g.SetString("tokenizer.ggml.model", "bert"); });
  expect(Code::kUnimplemented, "tokenizer.ggml.pre: \"mystery\"",
         [](auto& g) { g.SetString("tokenizer.ggml.pre", "mystery"); });
  expect(Code::kNotFound, "tokenizer.ggml.merges",
         [](auto& g) { g.Remove("tokenizer.ggml.merges"); });
  expect(Code::kInvalidArgument, "tokenizer.ggml.merges[0]",
         [](auto& g) { g.SetStrings("tokenizer.ggml.merges", {"a"}); });
  expect(Code::kInvalidArgument, "merges[0]: \"ba\"",
         [](auto& g) { g.SetStrings("tokenizer.ggml.merges", {"b a"}); });
  expect(Code::kInvalidArgument, "tokenizer.ggml.tokens[1]: \"a\"",
         [](auto& g) {
           g.SetStrings("tokenizer.ggml.tokens", {"a", "a"});
           g.SetInts("tokenizer.ggml.token_type", {1, 1});
         });
  expect(Code::kInvalidArgument, "token_type: 1 entries, needs 10",
         [](auto& g) { g.SetInts("tokenizer.ggml.token_type", {1}); });
  expect(Code::kInvalidArgument, "id 99",
         [](auto& g) { g.SetUint("tokenizer.ggml.eos_token_id", 99); });
  expect(Code::kInvalidArgument, "bos_token_id: 4294967295 is no token id",
         [](auto& g) { g.SetUint("tokenizer.ggml.bos_token_id", 0xFFFFFFFF); });
}

TEST_F(GgufTokenizerTest, NamesThePieceThatIsMalformed) {
  if (!SentencePieceModel::IsAvailable()) {
    GTEST_SKIP() << "this build leaves libsentencepiece out";
  }
  GgufWriter gguf = SentencePieceVocabulary();
  std::vector<float> scores(264, 0.0f);
  scores[9] = NAN;
  gguf.SetFloats("tokenizer.ggml.scores", scores);
  ExpectError(gguf, Code::kInvalidArgument, "pieces[9].score");
  gguf = SentencePieceVocabulary();
  gguf.SetFloats("tokenizer.ggml.scores", {0});
  ExpectError(gguf, Code::kInvalidArgument,
              "tokenizer.ggml.scores: 1 entries, needs 264");
  gguf = SentencePieceVocabulary();
  gguf.SetInts("tokenizer.ggml.token_type", std::vector<int32_t>(264, 6));
  ExpectError(gguf, Code::kInvalidArgument, "\"<unk>\" is of type BYTE");
}

}  // namespace
}  // namespace anyprec
