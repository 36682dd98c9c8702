// "<0x0A>": how vocabularies of characters write a token for one byte.
#ifndef ANYPREC_RUNTIME_TOKENIZER_BYTE_TOKEN_H_
#define ANYPREC_RUNTIME_TOKENIZER_BYTE_TOKEN_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace anyprec {

std::string ByteTokenText(uint8_t byte);

// nullopt where `text` is no such token. Upper-case digits only.
std::optional<uint8_t> ParseByteToken(absl::string_view text);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_BYTE_TOKEN_H_
