// Turns a stream of token ids into text deltas, each valid UTF-8.
//
// The bytes of a character that is not complete yet are held back until the
// token that completes it. The concatenation of all deltas, with that of
// Finish(), equals Tokenizer::Decode() of all ids.
//
// Thread-compatible.
#ifndef ANYPREC_RUNTIME_TOKENIZER_INCREMENTAL_DECODER_H_
#define ANYPREC_RUNTIME_TOKENIZER_INCREMENTAL_DECODER_H_

#include <string>

#include "runtime/tokenizer/token.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

class IncrementalDecoder {
 public:
  struct Options {
    bool skip_special = true;  // As for Decode().
    // False where the tokens continue a text (a completion): a leading space
    // then is the model's own, and is kept.
    bool at_text_start = true;
  };

  // `tokenizer` must outlive this object.
  IncrementalDecoder(const Tokenizer* tokenizer, Options options);

  // The text that `id` completes; may be "".
  std::string Append(TokenId id);

  // The end of the ids: an incomplete character becomes U+FFFD. Afterwards the
  // object is as newly constructed.
  std::string Finish();

 private:
  void Reset();

  const Tokenizer* tokenizer_;
  Options options_;
  bool strip_space_;     // A space at the front of the next bytes is dropped.
  std::string pending_;  // An incomplete character; at most 3 bytes.
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_INCREMENTAL_DECODER_H_
