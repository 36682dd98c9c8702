// Finds tokens that stand for whole strings of a text, before any other
// algorithm sees it: control tokens such as "<|im_start|>", and ordinary tokens
// that a model's author added by hand.
//
// Immutable; safe to use from any thread.
#ifndef ANYPREC_RUNTIME_TOKENIZER_ADDED_TOKENS_H_
#define ANYPREC_RUNTIME_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "runtime/tokenizer/token.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

struct AddedToken {
  std::string text;
  TokenId id = -1;
  bool control = false;  // found only where the caller allows it
  // White space before, and after, a match belongs to it.
  bool strip_left = false;
  bool strip_right = false;
};

class AddedTokens {
 public:
  // A part of a text: one token, or text for the model (id is nullopt).
  struct Segment {
    TextRange range;
    std::optional<TokenId> id;
  };

  // Says whether a control token at a place in the text is to be found.
  using ControlFilter = std::function<bool(TextRange)>;

  AddedTokens() = default;
  // Tokens with an empty text are never found. Of several with one text, the
  // last is.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // Cuts `text` at its leftmost, and of these longest, tokens. Segments are
  // ascending and cover the text; none is empty.
  std::vector<Segment> Split(absl::string_view text,
                             const ControlFilter& control_allowed) const;

  bool empty() const { return tokens_.empty(); }

 private:
  // The longest token that `text` begins with.
  const AddedToken* LongestPrefix(absl::string_view text) const;

  std::vector<AddedToken> tokens_;  // ascending by text, each text once
  std::array<bool, 256> first_bytes_{};
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_ADDED_TOKENS_H_
