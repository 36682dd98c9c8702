// Perl-compatible Unicode regular expressions, by PCRE2 with its just-in-time
// compiler.
//
// Immutable; safe to use from any thread, each with its own Scratch.
#ifndef ANYPREC_RUNTIME_TOKENIZER_REGEX_H_
#define ANYPREC_RUNTIME_TOKENIZER_REGEX_H_

#include <cstddef>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

class Regex {
 public:
  // Working memory of Find.
  class Scratch {
   public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

   private:
    friend class Regex;
    struct Impl;
    std::unique_ptr<Impl> impl_;
  };

  // INVALID_ARGUMENT with PCRE2's message and position for a malformed pattern.
  static absl::StatusOr<Regex> Compile(absl::string_view pattern);
  // A pattern that matches `text` itself.
  static absl::StatusOr<Regex> Literal(absl::string_view text);

  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // The first match that begins at or after `offset`, nullopt if there is none.
  // RESOURCE_EXHAUSTED where the pattern backtracks without end on this text.
  // REQUIRES: `text` is valid UTF-8 and `offset` at the start of a character.
  absl::StatusOr<std::optional<TextRange>> Find(absl::string_view text,
                                                size_t offset,
                                                Scratch& scratch) const;

 private:
  struct Impl;
  explicit Regex(std::unique_ptr<Impl> impl);
  static absl::StatusOr<Regex> Compile(absl::string_view pattern, bool literal);

  std::unique_ptr<Impl> impl_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_REGEX_H_
