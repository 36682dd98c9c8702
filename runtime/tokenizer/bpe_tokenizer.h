// A Tokenizer whose vocabulary was made by byte-pair encoding: the pipeline of
// HuggingFace's "fast" tokenizers, and of GGUF's "gpt2" model.
//
//   text -> added tokens -> normalizer -> added tokens -> words -> BPE -> ids
//
// Readers of file formats fill a BpeTokenizerSpec; all else is here.
#ifndef ANYPREC_RUNTIME_TOKENIZER_BPE_TOKENIZER_H_
#define ANYPREC_RUNTIME_TOKENIZER_BPE_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/token.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/vocabulary.h"

namespace anyprec {

struct BpeTokenizerSpec {
  BpeModelSpec model;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;

  std::vector<AddedToken> added;             // looked for in the text as it is
  std::vector<AddedToken> added_normalized;  // in the normalized text

  // What add_special puts around a text.
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;

  // What each character or string of a kCharacters vocabulary that is a space
  // in text is written as; "" if none.
  std::string space_mark;

  SpecialTokens special;
};

class BpeTokenizer final : public VocabularyTokenizer {
 public:
  // INVALID_ARGUMENT for ids that are negative, used twice, or so sparse that
  // the vocabulary would be mostly gaps, and as BpeModel::Create.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(
      BpeTokenizerSpec spec);

  absl::StatusOr<std::vector<TokenId>> Encode(
      absl::string_view text, const EncodeOptions& options) const override;

 private:
  struct Work;  // of one call to Encode

  BpeTokenizer(Vocabulary vocabulary, BpeModel model, BpeTokenizerSpec spec);

  absl::Status EncodeUnnormalized(absl::string_view text, TextRange range,
                                  Work& work) const;
  absl::Status EncodeWords(absl::string_view text, bool at_text_start,
                           Work& work) const;

  const BpeModel model_;
  const Normalizer normalizer_;
  const PreTokenizer pre_tokenizer_;
  const AddedTokens added_;
  const AddedTokens added_normalized_;
  const std::vector<TokenId> prefix_;
  const std::vector<TokenId> suffix_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_BPE_TOKENIZER_H_
