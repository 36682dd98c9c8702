// What the ids of a vocabulary stand for, whatever algorithm finds them.
//
// Immutable; safe to use from any thread.
#ifndef ANYPREC_RUNTIME_TOKENIZER_VOCABULARY_H_
#define ANYPREC_RUNTIME_TOKENIZER_VOCABULARY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/token.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

enum class TokenType : uint8_t {
  kUnused,   // a gap in the numbering; stands for nothing
  kText,     // stands for its bytes
  kControl,  // stands for no text
};

struct Token {
  std::string text;  // the bytes of a kText token, the name of a kControl one
  TokenType type = TokenType::kUnused;
};

class Vocabulary {
 public:
  // tokens[id]. REQUIRES: at most 2^31 - 1 tokens.
  explicit Vocabulary(std::vector<Token> tokens);

  int size() const { return static_cast<int>(tokens_.size()); }

  // kUnused and "" for ids that are not of the vocabulary.
  TokenType Type(TokenId id) const;
  absl::string_view Text(TokenId id) const;

  // Of several control tokens of one name, the first.
  std::optional<TokenId> FindControl(absl::string_view name) const;

 private:
  std::vector<Token> tokens_;
  absl::flat_hash_map<std::string, TokenId> controls_;
};

// A Tokenizer's decoding half.
class VocabularyTokenizer : public Tokenizer {
 public:
  int vocab_size() const override { return vocabulary_.size(); }
  std::string TokenBytes(TokenId id) const override;
  std::string ControlText(TokenId id) const override;
  std::optional<TokenId> FindControl(absl::string_view text) const override;
  bool IsControl(TokenId id) const override;

 protected:
  VocabularyTokenizer(Vocabulary vocabulary, SpecialTokens special)
      : Tokenizer(std::move(special)), vocabulary_(std::move(vocabulary)) {}

 private:
  const Vocabulary vocabulary_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_VOCABULARY_H_
