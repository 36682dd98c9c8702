// The word patterns that GGUF files refer to by a name (tokenizer.ggml.pre).
#ifndef ANYPREC_RUNTIME_TOKENIZER_GGUF_PRE_TOKENIZER_H_
#define ANYPREC_RUNTIME_TOKENIZER_GGUF_PRE_TOKENIZER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/pre_tokenizer.h"

namespace anyprec {

struct GgufPreTokenizer {
  PreTokenizer pre_tokenizer;
  bool ignore_merges = false;    // as BpeModelSpec
  bool add_bos_default = false;  // where the file has no add_bos_token
};

// UNIMPLEMENTED, with the names we know, for all others.
absl::StatusOr<GgufPreTokenizer> MakeGgufPreTokenizer(absl::string_view name);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_GGUF_PRE_TOKENIZER_H_
