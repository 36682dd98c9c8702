// The parts of a tokenizer.json around its model: normalizer, pre_tokenizer,
// post_processor and decoder.
#ifndef ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_JSON_PIPELINE_H_
#define ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_JSON_PIPELINE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/tokenizer/json_object.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

// Each takes the file's root and reads one field of it, which may be absent.
// Errors as
// ReadTokenizerJson.

absl::StatusOr<Normalizer> ParseNormalizer(JsonObject& root);

struct ParsedPreTokenizer {
  PreTokenizer pre_tokenizer;
  bool byte_level = false;  // The model's symbols are bytes.
};
absl::StatusOr<ParsedPreTokenizer> ParsePreTokenizer(JsonObject& root);

struct ParsedPostProcessor {
  bool present = false;  // The file says what stands around a text.
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};
absl::StatusOr<ParsedPostProcessor> ParsePostProcessor(JsonObject& root);

struct ParsedDecoder {
  bool byte_level = false;
  std::string space_mark;  // what stands for a space in tokens; "" if nothing
  bool strip_leading_space = false;
};
absl::StatusOr<ParsedDecoder> ParseDecoder(JsonObject& root);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_JSON_PIPELINE_H_
