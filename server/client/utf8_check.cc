#include "server/client/utf8_check.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// Bytes of the character that `text` begins with, by Unicode 15, table 3-7: no
// surrogates, no overlong forms, nothing above U+10FFFF. 0 where there is none.
// REQUIRES: !text.empty().
size_t CharacterLength(absl::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  const bool overlong =
      (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second > 0x9F;
  const bool too_high = lead == 0xF4 && second > 0x8F;
  return overlong || surrogate || too_high ? 0 : length;
}

}  // namespace

absl::Status RequireUtf8(absl::string_view object, absl::string_view text) {
  size_t offset = 0;
  while (offset < text.size()) {
    const size_t length = CharacterLength(text.substr(offset));
    if (length == 0) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: byte 0x%02X at offset %d begins no character; needs UTF-8",
          object, static_cast<uint8_t>(text[offset]), offset));
    }
    offset += length;
  }
  return absl::OkStatus();
}

absl::Status RequireUtf8Arguments(std::span<const std::string> arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const absl::string_view argument = arguments[i];
    const size_t equals = argument.find('=');
    if (absl::StartsWith(argument, "--") && equals != argument.npos &&
        RequireUtf8("", argument.substr(0, equals)).ok()) {
      RETURN_IF_ERROR(
          RequireUtf8(argument.substr(0, equals), argument.substr(equals + 1)));
    } else {
      RETURN_IF_ERROR(RequireUtf8(absl::StrCat("argument ", i + 2), argument));
    }
  }
  return absl::OkStatus();
}

}  // namespace anyprec
