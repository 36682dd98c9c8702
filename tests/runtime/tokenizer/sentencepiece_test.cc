#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "runtime/tokenizer/sentencepiece_cutter.h"
#include "runtime/tokenizer/sentencepiece_library.h"
#include "runtime/tokenizer/sentencepiece_proto.h"
#include "runtime/tokenizer/sentencepiece_tokenizer.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {
namespace {

using Ids = std::vector<TokenId>;

// Control tokens, and merges that lead to "\u2581the", "he" and "e\u2581".
SentencePieceProto SmallModel() {
  SentencePieceProto model;
  model.model_type = SentencePieceProto::kBpe;
  model.remove_extra_whitespaces = false;
  model.pieces = {{"<unk>", 0, SentencePieceProto::kUnknown},
                  {"<s>", 0, SentencePieceProto::kControl},
                  {"</s>", 0, SentencePieceProto::kControl}};
  for (const char* text :
       {"\u2581", "t", "h", "e", "a", "he", "the", "\u2581the", "e\u2581"}) {
    const float score = -static_cast<float>(model.pieces.size());
    model.pieces.push_back({text, score, SentencePieceProto::kNormal});
  }
  return model;
}

TEST(SentencePieceProtoTest, ReadsWhatItWrites) {
  SentencePieceProto model = SmallModel();
  model.byte_fallback = true;
  model.bos_id = -1;
  model.add_dummy_prefix = false;
  const auto read = ParseSentencePieceProto(SerializeSentencePieceProto(model));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->pieces.size(), model.pieces.size());
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    EXPECT_EQ(read->pieces[i].text, model.pieces[i].text);
    EXPECT_EQ(read->pieces[i].score, model.pieces[i].score);
    EXPECT_EQ(read->pieces[i].type, model.pieces[i].type);
  }
  EXPECT_EQ(read->model_type, SentencePieceProto::kBpe);
  EXPECT_TRUE(read->byte_fallback);
  EXPECT_EQ(read->bos_id, -1);
  EXPECT_EQ(read->eos_id, 2);
  EXPECT_FALSE(read->add_dummy_prefix);
  EXPECT_FALSE(read->remove_extra_whitespaces);
}

TEST(SentencePieceProtoTest, TheOverrideTakesTheDummyPrefixAway) {
  const std::string bytes =
      SerializeSentencePieceProto(SmallModel()) + NoDummyPrefixOverride();
  const auto read = ParseSentencePieceProto(bytes);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->add_dummy_prefix);
  EXPECT_FALSE(read->remove_extra_whitespaces);
}

TEST(SentencePieceProtoTest, EveryTruncationIsAnError) {
  const std::string bytes = SerializeSentencePieceProto(SmallModel());
  int errors = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    errors += ParseSentencePieceProto(bytes.substr(0, size)).ok() ? 0 : 1;
  }
  // A cut between two fields of the outermost message leaves a message.
  EXPECT_GE(errors,
            static_cast<int>(bytes.size() - SmallModel().pieces.size() - 2));
}

TEST(SentencePieceProtoTest, NamesThePieceThatIsMalformed) {
  const auto message = [](const SentencePieceProto& model) {
    const auto read =
        ParseSentencePieceProto(SerializeSentencePieceProto(model));
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(read.status().message());
  };
  SentencePieceProto model = SmallModel();
  model.pieces[4].text = "";
  EXPECT_TRUE(absl::StrContains(message(model), "pieces[4].piece"));
  model.pieces[4].text = "\xFF";
  EXPECT_TRUE(absl::StrContains(message(model), "pieces[4].piece"));
  model.pieces[4].text = "a";
  EXPECT_TRUE(absl::StrContains(message(model), "pieces[7]: \"a\""));
  model = SmallModel();
  model.pieces[3].type = 7;
  EXPECT_TRUE(absl::StrContains(message(model), "pieces[3].type: 7"));
  EXPECT_TRUE(
      absl::StrContains(message({}), "pieces: the vocabulary is empty"));
}

TEST(SentencePieceProtoTest, RefusesModelsThatRewriteCharacters) {
  // normalizer_spec { precompiled_charsmap: "x" }
  const std::string bytes = SerializeSentencePieceProto(SmallModel()) +
                            std::string("\x1A\x03\x12\x01x");
  const auto read = ParseSentencePieceProto(bytes);
  EXPECT_EQ(read.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_TRUE(
      absl::StrContains(read.status().message(), "precompiled_charsmap"));
}

class SentencePieceTokenizerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!SentencePieceModel::IsAvailable()) {
      GTEST_SKIP() << "this build leaves libsentencepiece out";
    }
  }
  std::unique_ptr<Tokenizer> Create(const SentencePieceProto& model,
                                    const TokenizerConfig& config = {}) {
    auto tokenizer = SentencePieceTokenizer::Create(
        SerializeSentencePieceProto(model), config);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return *std::move(tokenizer);
  }
};

TEST_F(SentencePieceTokenizerTest, FindsControlTokensWhereAskedTo) {
  const auto tokenizer = Create(SmallModel());
  EXPECT_EQ(*tokenizer->Encode("the</s>a", {.parse_special = true}),
            (Ids{1, 10, 2, 3, 7}));
  EXPECT_EQ(tokenizer->Encode("the</s>a", {})->front(), 1);
  EXPECT_EQ(tokenizer->FindControl("</s>"), 2);
  EXPECT_EQ(tokenizer->Decode(Ids{1, 10, 3, 7, 2}, true), "the a");
  EXPECT_EQ(tokenizer->Decode(Ids{1, 10, 3, 7, 2}, false), "<s> the a</s>");
}

TEST_F(SentencePieceTokenizerTest, ModernModelsPrefixTheFirstTextOnly) {
  TokenizerConfig config;
  config.legacy = false;
  config.add_eos_token = true;
  const auto tokenizer = Create(SmallModel(), config);
  EXPECT_EQ(*tokenizer->Encode("the</s>a", {.parse_special = true}),
            (Ids{1, 10, 2, 7, 2}));
}

TEST_F(SentencePieceTokenizerTest, AConfigAddsTokensBehindTheModels) {
  TokenizerConfig config;
  AddedToken token;
  token.text = "<|im_end|>";
  token.id = static_cast<TokenId>(SmallModel().pieces.size());
  token.control = true;
  config.added_tokens = {token};
  const auto tokenizer = Create(SmallModel(), config);
  EXPECT_EQ(*tokenizer->Encode("a<|im_end|>", {.parse_special = true}),
            (Ids{1, 3, 7, token.id}));
  EXPECT_EQ(tokenizer->eos_ids(), (Ids{2, token.id}));

  config.added_tokens[0].id += 1;
  const auto gap = SentencePieceTokenizer::Create(
      SerializeSentencePieceProto(SmallModel()), config);
  EXPECT_EQ(gap.status().code(), absl::StatusCode::kInvalidArgument);
}

// Parts are joined as if the text had been encoded whole.
TEST_F(SentencePieceTokenizerTest, CuttingLongTextsDoesNotChangeTheirIds) {
  SentencePieceProto model = SmallModel();
  std::string text;
  while (text.size() < 4 * SentencePieceCutter::kMinPartBytes) {
    text += "the  tea \u00E9a hat\nthee he a   ";
  }
  for (const bool prefix : {true, false}) {
    model.add_dummy_prefix = prefix;
    const std::string bytes = SerializeSentencePieceProto(model);
    const SentencePieceCutter cutter(model);
    const size_t part = cutter.PartLength(text);
    ASSERT_LT(part, text.size());
    // "e " is a piece.
    EXPECT_NE(text[part - 1], 'e');
    std::string error;
    const auto library = SentencePieceModel::Create(bytes, &error);
    ASSERT_NE(library, nullptr) << error;
    Ids whole;
    ASSERT_TRUE(library->Encode(text, &whole, &error)) << error;
    EXPECT_EQ(*Create(model)->Encode(text, {.add_special = false}), whole);
  }
}

TEST(SentencePieceStubTest, BuildsWithoutTheLibrarySaySo) {
  if (SentencePieceModel::IsAvailable()) {
    GTEST_SKIP() << "this build has libsentencepiece";
  }
  const auto tokenizer = SentencePieceTokenizer::Create(
      SerializeSentencePieceProto(SmallModel()), TokenizerConfig());
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_TRUE(absl::StrContains(tokenizer.status().message(), "leaves"));
}

TEST(SentencePieceCutterTest, LeavesTextsWholeThatDependOnTheirSurroundings) {
  const std::string text(3 * SentencePieceCutter::kMinPartBytes, 'a');
  EXPECT_EQ(SentencePieceCutter(SmallModel()).PartLength(text), text.size());
  const std::string spaced =
      text.substr(0, SentencePieceCutter::kMinPartBytes) + " a a";
  EXPECT_LT(SentencePieceCutter(SmallModel()).PartLength(spaced),
            spaced.size());
  SentencePieceProto model = SmallModel();
  model.remove_extra_whitespaces = true;
  EXPECT_EQ(SentencePieceCutter(model).PartLength(spaced), spaced.size());
}

}  // namespace
}  // namespace anyprec
