#include "runtime/tokenizer/bpe_model.h"

#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace anyprec {
namespace {

// A vocabulary over "a".."d" whose merges are drawn at random.
BpeModelSpec RandomSpec(int merges, std::mt19937& random) {
  BpeModelSpec spec;
  std::vector<std::string> texts;
  const auto add = [&](const std::string& text) {
    if (spec.ids.try_emplace(text, static_cast<TokenId>(texts.size())).second) {
      texts.push_back(text);
    }
  };
  for (char c = 'a'; c <= 'd'; ++c) add(std::string(1, c));
  while (static_cast<int>(spec.merges.size()) < merges) {
    const std::string& left = texts[random() % texts.size()];
    const std::string& right = texts[random() % texts.size()];
    if (left.size() + right.size() > 12) continue;
    const std::pair<std::string, std::string> merge(left, right);
    if (std::count(spec.merges.begin(), spec.merges.end(), merge) > 0) continue;
    spec.merges.push_back(merge);
    add(merge.first + merge.second);
  }
  return spec;
}

// The definition: merge the leftmost of the earliest pairs until none is left.
std::vector<TokenId> MergeByDefinition(const BpeModelSpec& spec,
                                       const std::string& word) {
  std::vector<std::string> symbols;
  for (const char c : word) symbols.emplace_back(1, c);
  for (bool merged = true; merged;) {
    merged = false;
    for (const auto& [left, right] : spec.merges) {
      for (size_t i = 0; i + 1 < symbols.size() && !merged; ++i) {
        if (symbols[i] != left || symbols[i + 1] != right) continue;
        symbols[i] += right;
        symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(i) + 1);
        merged = true;
      }
      if (merged) break;
    }
  }
  std::vector<TokenId> ids;
  for (const std::string& symbol : symbols) ids.push_back(spec.ids.at(symbol));
  return ids;
}

TEST(BpeModelTest, ShortAndLongWordsMergeAsDefined) {
  std::mt19937 random(7);
  BpeModel::Scratch scratch;
  for (int round = 0; round < 20; ++round) {
    const BpeModelSpec spec = RandomSpec(30, random);
    const auto model = BpeModel::Create(spec);
    ASSERT_TRUE(model.ok()) << model.status();
    for (const size_t length : {0, 1, 2, 3, 10, 31, 32, 33, 34, 100, 300}) {
      std::string word;
      for (size_t i = 0; i < length; ++i) {
        word += static_cast<char>('a' + random() % 4);
      }
      std::vector<TokenId> ids;
      model->Tokenize(word, scratch, &ids);
      EXPECT_EQ(ids, MergeByDefinition(spec, word)) << word;
    }
  }
}

// Linear scans for each merge would take 10^10 steps.
TEST(BpeModelTest, AWordOfOneLetterStaysTractable) {
  BpeModelSpec spec;
  std::string text = "a";
  spec.ids[text] = 0;
  for (TokenId id = 1; id <= 4; ++id) {
    spec.merges.emplace_back(text, text);
    text += text;
    spec.ids[text] = id;
  }
  const auto model = BpeModel::Create(spec);
  ASSERT_TRUE(model.ok()) << model.status();
  BpeModel::Scratch scratch;
  std::vector<TokenId> ids;
  model->Tokenize(std::string(160'000, 'a'), scratch, &ids);
  EXPECT_EQ(ids, std::vector<TokenId>(10'000, 4));
}

TEST(BpeModelTest, FallsBackToBytesThenToUnknown) {
  BpeModelSpec spec;
  spec.alphabet = BpeModelSpec::Alphabet::kCharacters;
  spec.ids = {{"a", 0}, {"<unk>", 1}, {"<0xC3>", 2}, {"<0xA9>", 3}};
  spec.byte_fallback = true;
  spec.unknown = 1;
  BpeModel::Scratch scratch;
  const auto tokenize = [&](const std::string& word) {
    const auto model = BpeModel::Create(spec);
    EXPECT_TRUE(model.ok()) << model.status();
    std::vector<TokenId> ids;
    model->Tokenize(word, scratch, &ids);
    return ids;
  };
  using Ids = std::vector<TokenId>;
  EXPECT_EQ(tokenize("a\u00E9a"), (Ids{0, 2, 3, 0}));
  EXPECT_EQ(tokenize("xya"), (Ids{1, 1, 0}));
  spec.fuse_unknown = true;
  EXPECT_EQ(tokenize("xyaz"), (Ids{1, 0, 1}));
  spec.unknown.reset();
  EXPECT_EQ(tokenize("xyaz"), (Ids{0}));
}

TEST(BpeModelTest, WholeWordsComeBeforeMergesWhereAskedFor) {
  BpeModelSpec spec;
  spec.ids = {{"a", 0}, {"b", 1}, {"\u0120", 2}, {"\u0120ab", 3}};
  BpeModel::Scratch scratch;
  for (const bool ignore_merges : {false, true}) {
    spec.ignore_merges = ignore_merges;
    const auto model = BpeModel::Create(spec);
    ASSERT_TRUE(model.ok()) << model.status();
    std::vector<TokenId> ids;
    model->Tokenize(" ab", scratch, &ids);
    EXPECT_EQ(ids, ignore_merges ? (std::vector<TokenId>{3})
                                 : (std::vector<TokenId>{2, 0, 1}));
  }
}

TEST(BpeModelTest, NamesAMergeThatIsNotInTheVocabulary) {
  BpeModelSpec spec;
  spec.ids = {{"a", 0}, {"b", 1}};
  spec.merges = {{"a", "b"}};
  const auto model = BpeModel::Create(spec);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(model.status().message(), "merges[0]: \"ab\""))
      << model.status();
}

}  // namespace
}  // namespace anyprec
