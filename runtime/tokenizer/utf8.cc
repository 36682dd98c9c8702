#include "runtime/tokenizer/utf8.h"

#include <algorithm>
#include <cstdint>

namespace anyprec {
namespace {

// The form of a character by its first byte. Only the second byte's range
// depends on the first; it is what excludes overlong forms and surrogates.
struct LeadByte {
  size_t length = 0;  // 0: begins no character
  uint8_t second_min = 0x80;
  uint8_t second_max = 0xBF;
};

LeadByte ClassifyLead(uint8_t lead) {
  if (lead < 0x80) return {1};
  if (lead < 0xC2) return {0};
  if (lead < 0xE0) return {2};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

}  // namespace

Utf8Char FirstUtf8Char(absl::string_view bytes) {
  using Kind = Utf8Char::Kind;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const LeadByte lead = ClassifyLead(byte(0));
  if (lead.length == 0) return {Kind::kInvalid, 1, 0};
  if (lead.length == 1) return {Kind::kValid, 1, byte(0)};

  char32_t code_point = byte(0) & (0x7Fu >> lead.length);
  const size_t available = std::min(lead.length, bytes.size());
  for (size_t i = 1; i < available; ++i) {
    const uint8_t min = i == 1 ? lead.second_min : 0x80;
    const uint8_t max = i == 1 ? lead.second_max : 0xBF;
    if (byte(i) < min || byte(i) > max) return {Kind::kInvalid, i, 0};
    code_point = code_point << 6 | (byte(i) & 0x3Fu);
  }
  if (available < lead.length) return {Kind::kIncomplete, available, 0};
  return {Kind::kValid, lead.length, code_point};
}

bool IsWellFormedUtf8(absl::string_view bytes) {
  while (!bytes.empty()) {
    const Utf8Char c = FirstUtf8Char(bytes);
    if (c.kind != Utf8Char::Kind::kValid) return false;
    bytes.remove_prefix(c.length);
  }
  return true;
}

size_t AppendValidUtf8(absl::string_view bytes, std::string* text) {
  while (!bytes.empty()) {
    const Utf8Char c = FirstUtf8Char(bytes);
    if (c.kind == Utf8Char::Kind::kIncomplete) return c.length;
    const absl::string_view valid = c.kind == Utf8Char::Kind::kValid
                                        ? bytes.substr(0, c.length)
                                        : kReplacementCharacter;
    text->append(valid.data(), valid.size());
    bytes.remove_prefix(c.length);
  }
  return 0;
}

std::string ReplaceInvalidUtf8(absl::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  if (AppendValidUtf8(bytes, &text) > 0) {
    text.append(kReplacementCharacter.data(), kReplacementCharacter.size());
  }
  return text;
}

bool IsWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t LeadingWhiteSpace(absl::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const Utf8Char c = FirstUtf8Char(text.substr(length));
    if (c.kind != Utf8Char::Kind::kValid || !IsWhiteSpace(c.code_point)) break;
    length += c.length;
  }
  return length;
}

size_t TrailingWhiteSpace(absl::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    size_t previous = begin - 1;
    while (previous > 0 &&
           (static_cast<uint8_t>(text[previous]) & 0xC0) == 0x80)
      --previous;
    const Utf8Char c = FirstUtf8Char(text.substr(previous, begin - previous));
    if (c.kind != Utf8Char::Kind::kValid || !IsWhiteSpace(c.code_point)) break;
    begin = previous;
  }
  return text.size() - begin;
}

void AppendUtf8(char32_t code_point, std::string* text) {
  const auto put = [&](char32_t byte) {
    text->push_back(static_cast<char>(static_cast<uint8_t>(byte)));
  };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

}  // namespace anyprec
