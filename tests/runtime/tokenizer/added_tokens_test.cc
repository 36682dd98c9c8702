#include "runtime/tokenizer/added_tokens.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

// "text[id]text": what Split() makes of a text.
std::string Show(const AddedTokens& tokens, const std::string& text,
                 bool control_allowed = true) {
  std::string shown;
  for (const auto& segment :
       tokens.Split(text, [&](TextRange) { return control_allowed; })) {
    const std::string part = text.substr(
        segment.range.begin, segment.range.end - segment.range.begin);
    shown += segment.id.has_value()
                 ? "[" + std::to_string(*segment.id) + ":" + part + "]"
                 : part;
  }
  return shown;
}

AddedToken Control(std::string text, TokenId id) {
  AddedToken token;
  token.text = std::move(text);
  token.id = id;
  token.control = true;
  return token;
}

TEST(AddedTokensTest, TheLeftmostThenTheLongestIsFound) {
  const AddedTokens tokens({Control("<a", 0), Control("<ab>", 1),
                            Control("<abcd", 2), Control("b>", 3),
                            Control("\xC3\xA9", 4)});
  EXPECT_EQ(Show(tokens, "x<ab>y"), "x[1:<ab>]y");
  EXPECT_EQ(Show(tokens, "<abc"), "[0:<a]bc");
  EXPECT_EQ(Show(tokens, "<abcd"), "[2:<abcd]");
  EXPECT_EQ(Show(tokens, "<<ab>b>"), "<[1:<ab>][3:b>]");
  EXPECT_EQ(Show(tokens, "\xC3\xA9\xC3\xA8"), "[4:\xC3\xA9]\xC3\xA8");
  EXPECT_EQ(Show(tokens, ""), "");
}

TEST(AddedTokensTest, ControlTokensNeedLeave) {
  AddedToken plain = Control("word", 1);
  plain.control = false;
  const AddedTokens tokens({Control("<s>", 0), plain});
  EXPECT_EQ(Show(tokens, "<s>word", false), "<s>[1:word]");
}

TEST(AddedTokensTest, WhiteSpaceAroundBelongsToStrippingTokens) {
  AddedToken token = Control("<m>", 0);
  token.strip_left = token.strip_right = true;
  const AddedTokens tokens({token});
  EXPECT_EQ(Show(tokens, "a \t<m>\xE3\x80\x80 b"), "a[0: \t<m>\xE3\x80\x80 ]b");
  EXPECT_EQ(Show(tokens, "<m> <m> "), "[0:<m> ][0:<m> ]");
}

TEST(AddedTokensTest, OfTwoWithOneTextTheLastCounts) {
  EXPECT_EQ(Show(AddedTokens({Control("x", 1), Control("x", 2)}), "x"),
            "[2:x]");
}

}  // namespace
}  // namespace anyprec
