// Cuts a text into the words that byte-pair encoding then sees one by one: the
// "pre_tokenizer" of a tokenizer.json, as a sequence of steps, each of which
// works on every piece that the one before it made.
//
// Immutable; safe to use from any thread, each with its own Scratch.
#ifndef ANYPREC_RUNTIME_TOKENIZER_PRE_TOKENIZER_H_
#define ANYPREC_RUNTIME_TOKENIZER_PRE_TOKENIZER_H_

#include <cstddef>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/regex.h"

namespace anyprec {

class PreTokenizer {
 public:
  // Cuts at the matches of a pattern.
  struct Split {
    // What becomes of a match; the text between two matches is a piece.
    enum class Behavior {
      kIsolated,            // a piece of its own
      kRemoved,             // nothing
      kMergedWithPrevious,  // the end of the piece before it
      kMergedWithNext,      // the beginning of the piece after it
    };
    Regex pattern;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;  // What the pattern does not match counts as matches.
  };

  // Puts a space before a piece that does not begin with one.
  struct PrefixSpace {};

  // sentencepiece's "▁": replaces spaces by `replacement`, puts one at the
  // front, and then may cut before each.
  struct Metaspace {
    enum class Prepend { kAlways, kFirst, kNever };  // kFirst: at text start
    std::string replacement;
    Prepend prepend = Prepend::kAlways;
    bool split = true;
  };

  using Step = std::variant<Split, PrefixSpace, Metaspace>;
  using Sink = absl::FunctionRef<void(absl::string_view word)>;

  // GPT-2's pattern, which "ByteLevel" stands for.
  static constexpr absl::string_view kGpt2Pattern =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)"
      R"(|\s+(?!\S)|\s+)";

  explicit PreTokenizer(std::vector<Step> steps = {})
      : steps_(std::move(steps)) {}

  // Calls `sink` with each word, in order; the view holds during the call only.
  // `at_text_start`: nothing stands before `text`. RESOURCE_EXHAUSTED as
  // Regex::Find.
  absl::Status Run(absl::string_view text, bool at_text_start,
                   Regex::Scratch& scratch, Sink sink) const;

 private:
  struct Context {
    Regex::Scratch& scratch;
    Sink sink;
  };

  absl::Status RunFrom(size_t step, absl::string_view piece, bool first,
                       Context& context) const;
  absl::Status Apply(const Split& split, size_t next, absl::string_view piece,
                     bool first, Context& context) const;
  absl::Status Apply(const PrefixSpace& prefix, size_t next,
                     absl::string_view piece, bool first,
                     Context& context) const;
  absl::Status Apply(const Metaspace& metaspace, size_t next,
                     absl::string_view piece, bool first,
                     Context& context) const;

  std::vector<Step> steps_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_PRE_TOKENIZER_H_
