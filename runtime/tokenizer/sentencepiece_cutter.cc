#include "runtime/tokenizer/sentencepiece_cutter.h"

#include <cstdint>

#include "runtime/tokenizer/utf8.h"

namespace anyprec {
namespace {

// U+2581 in pieces; in text it and a space are the same.
constexpr char32_t kSpaceMark = 0x2581;

bool IsMatched(const SentencePieceProto::Piece& piece) {
  return piece.type == SentencePieceProto::kNormal ||
         piece.type == SentencePieceProto::kUserDefined ||
         piece.type == SentencePieceProto::kUnused;
}

}  // namespace

SentencePieceCutter::SentencePieceCutter(const SentencePieceProto& model) {
  bool space_is_known = false;
  for (const SentencePieceProto::Piece& piece : model.pieces) {
    if (!IsMatched(piece)) continue;
    absl::string_view text = piece.text;
    char32_t previous = 0;
    for (bool first = true; !text.empty(); first = false) {
      const Utf8Char c = FirstUtf8Char(text);
      text.remove_prefix(c.length);
      const bool is_space = c.code_point == kSpaceMark;
      if (is_space && !first) before_space_.insert(previous);
      if (is_space && first && text.empty()) space_is_known = true;
      previous = c.code_point;
    }
  }
  // The removal of white space looks at what is around. An unknown space would
  // be one token with the unknown characters before it.
  enabled_ = model.model_type == SentencePieceProto::kBpe && space_is_known &&
             !model.remove_extra_whitespaces;
}

bool SentencePieceCutter::MayEndWith(char32_t last) const {
  return last != ' ' && last != kSpaceMark && !before_space_.contains(last);
}

size_t SentencePieceCutter::PartLength(absl::string_view text) const {
  if (!enabled_) return text.size();
  size_t space = text.find(' ', kMinPartBytes);
  // What is left must not be the space alone, which is encoded without it.
  for (; space != absl::string_view::npos && space + 1 < text.size();
       space = text.find(' ', space + 1)) {
    size_t last = space - 1;
    while ((static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
    if (MayEndWith(FirstUtf8Char(text.substr(last)).code_point)) return space;
  }
  return text.size();
}

}  // namespace anyprec
