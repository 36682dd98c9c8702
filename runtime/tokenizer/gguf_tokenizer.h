// The vocabulary that a GGUF file carries in its metadata:
//
//   tokenizer.ggml.model       "llama" (sentencepiece), "gpt2" (byte-level BPE)
//   tokenizer.ggml.pre         the words of "gpt2": names a set of patterns
//   tokenizer.ggml.tokens      [id] -> text
//   tokenizer.ggml.token_type  [id] -> SentencePieceProto::PieceType
//   tokenizer.ggml.scores      [id], of "llama"
//   tokenizer.ggml.merges      "left right", of "gpt2"
//   tokenizer.ggml.{bos,eos,eot,unknown}_token_id, .add_{bos,eos}_token,
//   tokenizer.ggml.add_space_prefix, .remove_extra_whitespaces
//   tokenizer.chat_template
#ifndef ANYPREC_RUNTIME_TOKENIZER_GGUF_TOKENIZER_H_
#define ANYPREC_RUNTIME_TOKENIZER_GGUF_TOKENIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/format/gguf.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

// UNIMPLEMENTED where model or pre name something we do not know;
// INVALID_ARGUMENT for what is malformed. Messages name file and key.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadGgufTokenizer(
    const GgufFile& file);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_GGUF_TOKENIZER_H_
