#include "runtime/tokenizer/byte_level.h"

#include <array>

#include "runtime/tokenizer/utf8.h"

namespace anyprec {
namespace {

constexpr bool StandsForItself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
         byte >= 0xAE;
}

constexpr std::array<char32_t, 256> MakeAlphabet() {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    alphabet[byte] =
        StandsForItself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return alphabet;
}

constexpr std::array<char32_t, 256> kAlphabet = MakeAlphabet();
constexpr int kCharacters = 0x100 + 68;

constexpr std::array<int16_t, kCharacters> MakeInverse() {
  std::array<int16_t, kCharacters> inverse{};
  for (int16_t& byte : inverse) byte = -1;
  for (int byte = 0; byte < 256; ++byte) {
    inverse[kAlphabet[byte]] = static_cast<int16_t>(byte);
  }
  return inverse;
}

constexpr std::array<int16_t, kCharacters> kInverse = MakeInverse();

}  // namespace

char32_t ByteLevelChar(uint8_t byte) { return kAlphabet[byte]; }

std::optional<std::string> DecodeByteLevel(absl::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const Utf8Char c = FirstUtf8Char(text);
    if (c.kind != Utf8Char::Kind::kValid || c.code_point >= kCharacters ||
        kInverse[c.code_point] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(kInverse[c.code_point]));
    text.remove_prefix(c.length);
  }
  return bytes;
}

}  // namespace anyprec
