#include "runtime/tokenizer/byte_token.h"

#include "absl/strings/str_format.h"

namespace anyprec {

std::string ByteTokenText(uint8_t byte) {
  return absl::StrFormat("<0x%02X>", byte);
}

std::optional<uint8_t> ParseByteToken(absl::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') {
    return std::nullopt;
  }
  int value = 0;
  for (const char c : text.substr(3, 2)) {
    if (c >= '0' && c <= '9') {
      value = value * 16 + (c - '0');
    } else if (c >= 'A' && c <= 'F') {
      value = value * 16 + (c - 'A' + 10);
    } else {
      return std::nullopt;
    }
  }
  return static_cast<uint8_t>(value);
}

}  // namespace anyprec
