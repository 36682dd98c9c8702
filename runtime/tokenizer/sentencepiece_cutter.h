// Cuts long texts for a sentencepiece model at places where that does not
// change the ids.
//
// The library takes a text for one word, with a heap over all its symbols: a
// byte of a 1.3 MB text costs it 12 times as much as one of a 4 kB text. A
// merge never crosses a place whose two characters stand side by side in no
// piece; ours lie before a space, which most vocabularies have at the front of
// pieces only. (A text without spaces is left whole.)
//
// Immutable; safe to use from any thread.
#ifndef ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_CUTTER_H_
#define ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_CUTTER_H_

#include <cstddef>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/sentencepiece_proto.h"

namespace anyprec {

class SentencePieceCutter {
 public:
  SentencePieceCutter() = default;  // Cuts nothing.
  explicit SentencePieceCutter(const SentencePieceProto& model);

  // How many bytes of `text` to encode by themselves: all, or at least
  // kMinPartBytes and up to a space. REQUIRES: `text` is valid UTF-8.
  size_t PartLength(absl::string_view text) const;

  static constexpr size_t kMinPartBytes = 4096;

 private:
  // Whether a text may be cut between `last` and a space.
  bool MayEndWith(char32_t last) const;

  bool enabled_ = false;
  // What stands before a space in some piece.
  absl::flat_hash_set<char32_t> before_space_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_CUTTER_H_
