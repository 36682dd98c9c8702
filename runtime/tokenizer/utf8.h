// UTF-8 as Unicode 15 (3.9, table 3-7) defines it: no surrogates, no overlong
// forms, nothing above U+10FFFF.
#ifndef ANYPREC_RUNTIME_TOKENIZER_UTF8_H_
#define ANYPREC_RUNTIME_TOKENIZER_UTF8_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace anyprec {

// U+FFFD, which stands in for bytes that are no character.
inline constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// What the front of a byte sequence holds.
struct Utf8Char {
  enum class Kind {
    kValid,
    kInvalid,     // bytes that begin no character, whatever follows
    kIncomplete,  // all bytes of the sequence; more could make it valid
  };
  Kind kind = Kind::kInvalid;
  size_t length = 1;        // bytes; of an ill-formed one, its maximal subpart
  char32_t code_point = 0;  // where kValid
};

// REQUIRES: !bytes.empty().
Utf8Char FirstUtf8Char(absl::string_view bytes);

bool IsWellFormedUtf8(absl::string_view bytes);

// Appends `bytes` to `text` with U+FFFD for each maximal subpart of an
// ill-formed sequence. An incomplete sequence at the end is left out; returns
// its length, at most 3.
size_t AppendValidUtf8(absl::string_view bytes, std::string* text);

// `bytes` with every ill-formed sequence replaced, one at the end included.
std::string ReplaceInvalidUtf8(absl::string_view bytes);

// Unicode's White_Space property.
bool IsWhiteSpace(char32_t c);

// How many bytes of white space `text` begins, or ends, with.
size_t LeadingWhiteSpace(absl::string_view text);
size_t TrailingWhiteSpace(absl::string_view text);

// REQUIRES: code_point <= 0x10FFFF and no surrogate.
void AppendUtf8(char32_t code_point, std::string* text);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_UTF8_H_
