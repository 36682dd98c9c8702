// Reads GPT-2's own files: vocab.json (token -> id) and merges.txt (a pair of
// tokens a line, earliest first), byte-level BPE with GPT-2's word pattern.
#ifndef ANYPREC_RUNTIME_TOKENIZER_GPT2_FILES_H_
#define ANYPREC_RUNTIME_TOKENIZER_GPT2_FILES_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/bpe_tokenizer.h"
#include "runtime/tokenizer/tokenizer_config.h"

namespace anyprec {

// INVALID_ARGUMENT for malformed files, naming file and field.
absl::StatusOr<BpeTokenizerSpec> ReadGpt2Files(absl::string_view folder,
                                               const TokenizerConfig& config);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_GPT2_FILES_H_
