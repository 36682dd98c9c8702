// GPT-2's alphabet for bytes, in which byte-level BPE vocabularies are written:
// each byte is one printable character, so that a vocabulary is valid UTF-8 and
// free of white space. Printable Latin-1 characters stand for themselves; the
// other 68 bytes, in ascending order, are U+0100, U+0101, ... (a space is "Ġ").
#ifndef ANYPREC_RUNTIME_TOKENIZER_BYTE_LEVEL_H_
#define ANYPREC_RUNTIME_TOKENIZER_BYTE_LEVEL_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace anyprec {

// The character that stands for `byte`.
char32_t ByteLevelChar(uint8_t byte);

// The bytes that `text` stands for; nullopt where it is not of this alphabet.
std::optional<std::string> DecodeByteLevel(absl::string_view text);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_BYTE_LEVEL_H_
