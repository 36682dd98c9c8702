#include "server/client/utf8_check.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace anyprec {
namespace {

TEST(Utf8CheckTest, AcceptsTheFirstAndLastCharacterOfEachLength) {
  using namespace std::string_literals;  // for the NUL
  for (const std::string& text :
       {""s, "\0"s, "\x7F"s, "\xC2\x80"s, "\xDF\xBF"s, "\xE0\xA0\x80"s,
        "\xED\x9F\xBF"s, "\xEE\x80\x80"s, "\xEF\xBF\xBF"s, "\xF0\x90\x80\x80"s,
        "\xF4\x8F\xBF\xBF"s, "d\xC3\xA9j\xC3\xA0 vu"s}) {
    EXPECT_TRUE(RequireUtf8("text", text).ok()) << RequireUtf8("text", text);
  }
}

TEST(Utf8CheckTest, RefusesWhatBeginsNoCharacter) {
  for (const std::string text :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xC3(", "\xE0\x9F\xBF",
        "\xED\xA0\x80", "\xE2\x82", "\xE2\x28\xA1", "\xF0\x8F\xBF\xBF",
        "\xF0\x9F\x98", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_FALSE(RequireUtf8("text", text).ok())
        << static_cast<int>(static_cast<unsigned char>(text[0]));
  }
}

TEST(Utf8CheckTest, NamesTheObjectTheByteAndItsOffset) {
  EXPECT_EQ(RequireUtf8("stdin", "\xC3\xA9t\xE9").message(),
            "stdin: byte 0xE9 at offset 3 begins no character; needs UTF-8");
}

TEST(Utf8CheckTest, NamesTheFlagOrTheArgument) {
  const std::vector<std::string> flag = {"--bits=3", "--stop=ab\xFF"};
  EXPECT_EQ(RequireUtf8Arguments(flag).message(),
            "--stop: byte 0xFF at offset 2 begins no character; needs UTF-8");
  const std::vector<std::string> word = {"--bits=3", "a=\xFF"};
  EXPECT_EQ(RequireUtf8Arguments(word).message(),
            "argument 3: byte 0xFF at offset 2 begins no character; needs "
            "UTF-8");
  const std::vector<std::string> name = {"--\xFF=1"};
  EXPECT_EQ(RequireUtf8Arguments(name).message(),
            "argument 2: byte 0xFF at offset 2 begins no character; needs "
            "UTF-8");
  const std::vector<std::string> valid = {"--stop=\xC3\xA9", "\xC3\xA9"};
  EXPECT_TRUE(RequireUtf8Arguments(valid).ok());
}

}  // namespace
}  // namespace anyprec
