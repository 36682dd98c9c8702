// Ids and texts against HuggingFace's tokenizers and sentencepiece; see
// testdata/make_golden.py.
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/tokenizer/incremental_decoder.h"
#include "runtime/tokenizer/sentencepiece_library.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/tokenizer/test_files.h"

namespace anyprec {
namespace {

using Ids = std::vector<TokenId>;

class GoldenTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load(TestData(GetParam()));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
    cases_ = ReadGolden()["tokenizers"][GetParam()];
    ASSERT_FALSE(cases_.empty());
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  nlohmann::json cases_;
};

TEST_P(GoldenTest, EncodesAsHuggingFaceDoes) {
  for (const auto& golden : cases_) {
    const std::string text = golden["text"];
    const auto plain = tokenizer_->Encode(text, {.add_special = false});
    ASSERT_TRUE(plain.ok()) << plain.status();
    EXPECT_EQ(*plain, golden["ids"].get<Ids>()) << text;
    const auto special = tokenizer_->Encode(text, {.parse_special = true});
    ASSERT_TRUE(special.ok()) << special.status();
    EXPECT_EQ(*special, golden["ids_special"].get<Ids>()) << text;
  }
}

TEST_P(GoldenTest, DecodesAsHuggingFaceDoes) {
  for (const auto& golden : cases_) {
    const Ids ids = golden["ids_special"];
    EXPECT_EQ(tokenizer_->Decode(ids, /*skip_special=*/true),
              golden["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer_->Decode(ids, /*skip_special=*/false),
              golden["decoded_special"].get<std::string>());
  }
}

TEST_P(GoldenTest, DeltasConcatenateToTheDecodedText) {
  for (const auto& golden : cases_) {
    const Ids ids = golden["ids_special"];
    for (const bool skip_special : {true, false}) {
      IncrementalDecoder decoder(tokenizer_.get(),
                                 {.skip_special = skip_special});
      std::string text;
      for (const TokenId id : ids) text += decoder.Append(id);
      text += decoder.Finish();
      EXPECT_EQ(text, tokenizer_->Decode(ids, skip_special));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Pipelines, GoldenTest,
                         testing::Values("byte_level", "llama3",
                                         "byte_fallback", "metaspace"),
                         [](const auto& info) { return info.param; });

TEST(SentencePieceGoldenTest, EncodesAsSentencePieceDoes) {
  if (!SentencePieceModel::IsAvailable()) {
    GTEST_SKIP() << "this build leaves libsentencepiece out";
  }
  const auto tokenizer = Tokenizer::Load(TestData("sentencepiece"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const nlohmann::json golden = ReadGolden();
  for (const auto& entry : golden["sentencepiece"]) {
    const std::string text = entry["text"];
    const auto ids = (*tokenizer)->Encode(text, {.add_special = false});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, entry["ids"].get<Ids>()) << text;
  }
}

}  // namespace
}  // namespace anyprec
