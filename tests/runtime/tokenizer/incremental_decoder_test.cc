#include "runtime/tokenizer/incremental_decoder.h"

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/tokenizer/utf8.h"
#include "tests/runtime/tokenizer/test_files.h"

namespace anyprec {
namespace {

class IncrementalDecoderTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load(TestData(GetParam()));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(IncrementalDecoderTest, DeltasOfRandomIdsAreValidAndComplete) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<TokenId> ids(1 + random() % 40);
    for (TokenId& id : ids) {
      id = static_cast<TokenId>(random() % (tokenizer_->vocab_size() + 2)) - 1;
    }
    const bool skip_special = random() % 2 == 0;
    IncrementalDecoder decoder(tokenizer_.get(),
                               {.skip_special = skip_special});
    std::string text;
    for (const TokenId id : ids) {
      const std::string delta = decoder.Append(id);
      EXPECT_TRUE(IsWellFormedUtf8(delta));
      text += delta;
    }
    text += decoder.Finish();
    EXPECT_EQ(text, tokenizer_->Decode(ids, skip_special));
  }
}

INSTANTIATE_TEST_SUITE_P(Pipelines, IncrementalDecoderTest,
                         testing::Values("byte_level", "byte_fallback"),
                         [](const auto& info) { return info.param; });

// The ids of a text's bytes, of vocabularies that have them.
std::vector<TokenId> ByteIds(const Tokenizer& tokenizer,
                             const std::string& bytes) {
  std::vector<TokenId> ids;
  for (const char byte : bytes) {
    for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
      if (tokenizer.TokenBytes(id) != std::string(1, byte)) continue;
      ids.push_back(id);
      break;
    }
  }
  EXPECT_EQ(ids.size(), bytes.size());
  return ids;
}

TEST(IncrementalDecoderBytesTest, HoldsBackACharacterUntilItIsComplete) {
  const auto tokenizer = Tokenizer::Load(TestData("byte_level"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  IncrementalDecoder decoder(tokenizer->get(), {});
  std::vector<std::string> deltas;
  for (const TokenId id : ByteIds(**tokenizer, "\xF0\x9F\xA6\x99!")) {
    deltas.push_back(decoder.Append(id));
  }
  EXPECT_EQ(deltas,
            (std::vector<std::string>{"", "", "", "\xF0\x9F\xA6\x99", "!"}));
  EXPECT_EQ(decoder.Finish(), "");
}

TEST(IncrementalDecoderBytesTest, FlushesAnIncompleteCharacterAsReplacement) {
  const auto tokenizer = Tokenizer::Load(TestData("byte_level"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  IncrementalDecoder decoder(tokenizer->get(), {});
  const auto ids = ByteIds(**tokenizer, "\xF0\x9F\xA6");
  for (const TokenId id : ids) EXPECT_EQ(decoder.Append(id), "");
  EXPECT_EQ(decoder.Finish(), std::string(kReplacementCharacter));
  EXPECT_EQ(decoder.Finish(), "");
  // A broken character ends where the next begins.
  EXPECT_EQ(decoder.Append(ids[0]), "");
  EXPECT_EQ(decoder.Append(ByteIds(**tokenizer, "a")[0]),
            std::string(kReplacementCharacter) + "a");
}

TEST(IncrementalDecoderBytesTest, KeepsTheLeadingSpaceOfAContinuation) {
  const auto tokenizer = Tokenizer::Load(TestData("byte_fallback"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)->Encode("the end", {.add_special = false});
  ASSERT_TRUE(ids.ok()) << ids.status();
  const auto decode = [&](bool at_text_start) {
    IncrementalDecoder decoder(tokenizer->get(),
                               {.at_text_start = at_text_start});
    std::string text;
    for (const TokenId id : *ids) text += decoder.Append(id);
    return text + decoder.Finish();
  };
  EXPECT_EQ(decode(true), "the end");
  EXPECT_EQ(decode(false), " the end");
}

}  // namespace
}  // namespace anyprec
