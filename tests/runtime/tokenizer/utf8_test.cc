#include "runtime/tokenizer/utf8.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

TEST(Utf8Test, EveryCodePointSurvivesARoundTrip) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(c, &text);
    const Utf8Char first = FirstUtf8Char(text);
    ASSERT_EQ(first.kind, Utf8Char::Kind::kValid) << uint32_t{c};
    ASSERT_EQ(first.length, text.size()) << uint32_t{c};
    ASSERT_EQ(uint32_t{first.code_point}, uint32_t{c});
  }
}

// The examples of the Unicode standard, 3.9, tables 3-8 to 3-11.
TEST(Utf8Test, ReplacesMaximalSubparts) {
  const std::string r(kReplacementCharacter);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41",
       r + r + r + r + r + r + r + r + "A"},
      {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41",
       r + r + r + r + r + r + r + r + "A"},
      {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42",
       r + r + r + r + r + "A" + r + r + "B"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", r + r + r + r + "A"},
      {"\xE4\xBD\xA0\xE4\xBD", "\xE4\xBD\xA0" + r},
      {"", ""},
  };
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(ReplaceInvalidUtf8(bytes), text);
    EXPECT_EQ(IsWellFormedUtf8(bytes), bytes == text);
  }
}

TEST(Utf8Test, LeavesOutAnIncompleteCharacterAtTheEnd) {
  const std::string llama = "\xF0\x9F\xA6\x99";
  for (size_t length = 1; length < llama.size(); ++length) {
    std::string text;
    EXPECT_EQ(AppendValidUtf8("a" + llama.substr(0, length), &text), length);
    EXPECT_EQ(text, "a");
  }
}

TEST(Utf8Test, MeasuresWhiteSpaceAtBothEnds) {
  const std::string text = " \t\xC2\xA0\xE3\x80\x80x y\xE2\x80\xA8\n";
  EXPECT_EQ(LeadingWhiteSpace(text), 7u);
  EXPECT_EQ(TrailingWhiteSpace(text), 4u);
  EXPECT_EQ(TrailingWhiteSpace(" \n "), 3u);
  EXPECT_EQ(LeadingWhiteSpace(""), 0u);
  // U+180E and U+200B are no white space.
  EXPECT_EQ(LeadingWhiteSpace("\xE1\xA0\x8E"), 0u);
  EXPECT_EQ(TrailingWhiteSpace("\xE2\x80\x8B"), 0u);
}

}  // namespace
}  // namespace anyprec
