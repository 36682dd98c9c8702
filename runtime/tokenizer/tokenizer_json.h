// Reads HuggingFace's tokenizer.json: BPE models, byte-level (GPT-2, Llama 3,
// SmolLM2) or of characters with byte fallback (Llama 2, TinyStories-656K).
//
// Every component that the file names is either reproduced or refused with its
// path in the message. "truncation" and "padding" alone are passed over:
// transformers, too, sets them per call, whatever the file says.
#ifndef ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_JSON_H_
#define ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "runtime/tokenizer/bpe_tokenizer.h"
#include "runtime/tokenizer/tokenizer_config.h"

namespace anyprec {

// INVALID_ARGUMENT for what is malformed, UNIMPLEMENTED for what we do not
// support; messages name file and field.
absl::StatusOr<BpeTokenizerSpec> ReadTokenizerJson(
    const std::string& path, const TokenizerConfig& config);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_JSON_H_
