// What the small JSON files beside a HuggingFace tokenizer say about it:
// tokenizer_config.json, special_tokens_map.json, chat_template.jinja,
// generation_config.json and config.json.
//
// The first of these is a bag of arguments to a Python constructor. Only those
// that decide about ids and prompts are read; the others (model_max_length,
// padding_side, ...) mean nothing here.
#ifndef ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_CONFIG_H_
#define ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_CONFIG_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/token.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

struct TokenizerConfig {
  std::string tokenizer_class;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  // Of sentencepiece models: every piece of text between control tokens gets a
  // dummy prefix, not only the first.
  bool legacy = true;

  // Names of tokens.
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;

  // From config.json and generation_config.json.
  std::optional<TokenId> bos_id;
  std::vector<TokenId> eos_ids;

  std::vector<AddedToken> added_tokens;  // added_tokens_decoder
  std::string chat_template;

  // In transformers this class puts BOS and EOS around a text by the options
  // above, whatever tokenizer.json says.
  bool IsLlama() const {
    return tokenizer_class == "LlamaTokenizer" ||
           tokenizer_class == "LlamaTokenizerFast";
  }
};

// Files that do not exist are as if empty; malformed ones are errors that name
// file and field.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(absl::string_view folder);

// Finds the id of a token by its name.
using TokenLookup =
    absl::FunctionRef<std::optional<TokenId>(absl::string_view name)>;

// BOS, and all tokens that end an answer: those that `config` names, and those
// of `control`'s that are known to (a chat model often ends its turns by
// another token than its documents). INVALID_ARGUMENT where `config` names a
// token that does not exist.
absl::StatusOr<SpecialTokens> ResolveSpecialTokens(
    const TokenizerConfig& config, TokenLookup any_token, TokenLookup control);

// The ids of control tokens that end an answer in the models we know, by name.
std::vector<TokenId> KnownEosIds(TokenLookup control);

// Makes `ids` ascending and unique.
void SortIds(std::vector<TokenId>* ids);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_CONFIG_H_
