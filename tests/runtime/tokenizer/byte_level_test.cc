#include "runtime/tokenizer/byte_level.h"

#include <set>
#include <string>

#include "gtest/gtest.h"
#include "runtime/tokenizer/utf8.h"

namespace anyprec {
namespace {

TEST(ByteLevelTest, EveryByteHasACharacterOfItsOwn) {
  std::set<char32_t> characters;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t c = ByteLevelChar(static_cast<uint8_t>(byte));
    EXPECT_TRUE(characters.insert(c).second);
    std::string text;
    AppendUtf8(c, &text);
    EXPECT_EQ(DecodeByteLevel(text), std::string(1, static_cast<char>(byte)));
  }
}

TEST(ByteLevelTest, AgreesWithGpt2sVocabulary) {
  EXPECT_TRUE(ByteLevelChar('A') == U'A');
  EXPECT_TRUE(ByteLevelChar(' ') == U'\u0120');
  EXPECT_TRUE(ByteLevelChar('\n') == U'\u010A');
  EXPECT_TRUE(ByteLevelChar(0xAD) == U'\u0143');
  EXPECT_EQ(DecodeByteLevel("\u0120the"), " the");
}

TEST(ByteLevelTest, OtherCharactersAreNotOfTheAlphabet) {
  for (const char* text :
       {" ", "a b", "\n", "\xC2\xA0", "\u0144", "\u4F60", "\xFF"}) {
    EXPECT_EQ(DecodeByteLevel(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace anyprec
