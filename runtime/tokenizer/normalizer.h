// Rewrites a text before it is cut into tokens, as the "normalizer" of a
// tokenizer.json says: "Prepend" and "Replace", in order.
//
// Immutable; safe to use from any thread.
#ifndef ANYPREC_RUNTIME_TOKENIZER_NORMALIZER_H_
#define ANYPREC_RUNTIME_TOKENIZER_NORMALIZER_H_

#include <cstddef>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"

namespace anyprec {

class Normalizer {
 public:
  // Puts `text` before a text that is not empty.
  struct Prepend {
    std::string text;
  };
  // Replaces each `pattern`, from left to right. REQUIRES: !pattern.empty().
  struct Replace {
    std::string pattern;
    std::string content;
  };
  using Step = std::variant<Prepend, Replace>;

  // A text, and for each of its bytes the offset in the input that it is from.
  struct Traced {
    std::string text;
    std::vector<size_t> origins;
  };

  explicit Normalizer(std::vector<Step> steps = {})
      : steps_(std::move(steps)) {}

  bool empty() const { return steps_.empty(); }
  std::string Normalize(absl::string_view text) const;
  Traced NormalizeTraced(absl::string_view text) const;

 private:
  std::vector<Step> steps_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_NORMALIZER_H_
