#include "runtime/tokenizer/tokenizer.h"

#include <algorithm>

#include "runtime/tokenizer/utf8.h"

namespace anyprec {

std::string Tokenizer::Decode(std::span<const TokenId> ids,
                              bool skip_special) const {
  std::string bytes;
  for (const TokenId id : ids) {
    bytes += TokenBytes(id);
    if (!skip_special) bytes += ControlText(id);
  }
  const bool strip =
      special_.strip_leading_space && !bytes.empty() && bytes.front() == ' ';
  return ReplaceInvalidUtf8(absl::string_view(bytes).substr(strip ? 1 : 0));
}

bool Tokenizer::IsEos(TokenId id) const {
  return std::binary_search(special_.eos.begin(), special_.eos.end(), id);
}

}  // namespace anyprec
