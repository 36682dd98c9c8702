// A Tokenizer whose text is cut by a sentencepiece model: a tokenizer.model, or
// the vocabulary of a GGUF file whose tokenizer.ggml.model is "llama".
#ifndef ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_TOKENIZER_H_
#define ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/sentencepiece_cutter.h"
#include "runtime/tokenizer/sentencepiece_library.h"
#include "runtime/tokenizer/token.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer_config.h"
#include "runtime/tokenizer/vocabulary.h"

namespace anyprec {

class SentencePieceTokenizer final : public VocabularyTokenizer {
 public:
  // `model_proto` is a serialized sentencepiece.ModelProto. INVALID_ARGUMENT
  // where it is malformed or contradicts `config`; UNIMPLEMENTED in builds
  // without libsentencepiece.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(
      absl::string_view model_proto, const TokenizerConfig& config);

  absl::StatusOr<std::vector<TokenId>> Encode(
      absl::string_view text, const EncodeOptions& options) const override;

 private:
  struct Parts {
    std::unique_ptr<SentencePieceModel> model;
    // Cuts what follows a control token; null: `model` does.
    std::unique_ptr<SentencePieceModel> inner_model;
    std::vector<AddedToken> added;
    std::vector<TokenId> prefix;
    std::vector<TokenId> suffix;
    SpecialTokens special;
    SentencePieceCutter cutter;
    bool adds_prefix = true;  // `model` puts a space before a text
  };

  SentencePieceTokenizer(Vocabulary vocabulary, Parts parts);

  absl::Status EncodePart(absl::string_view text, bool after_control,
                          std::vector<TokenId>* ids) const;

  const std::unique_ptr<SentencePieceModel> model_;
  const std::unique_ptr<SentencePieceModel> inner_model_;
  const SentencePieceCutter cutter_;
  const bool adds_prefix_;
  const AddedTokens added_;
  const std::vector<TokenId> prefix_;
  const std::vector<TokenId> suffix_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_TOKENIZER_H_
