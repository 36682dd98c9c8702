#include "runtime/tokenizer/vocabulary.h"

namespace anyprec {

Vocabulary::Vocabulary(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
  for (TokenId id = 0; id < size(); ++id) {
    if (Type(id) == TokenType::kControl) {
      controls_.try_emplace(tokens_[id].text, id);
    }
  }
}

TokenType Vocabulary::Type(TokenId id) const {
  return id >= 0 && id < size() ? tokens_[id].type : TokenType::kUnused;
}

absl::string_view Vocabulary::Text(TokenId id) const {
  if (id < 0 || id >= size()) return "";
  return tokens_[id].text;
}

std::optional<TokenId> Vocabulary::FindControl(absl::string_view name) const {
  const auto found = controls_.find(name);
  if (found == controls_.end()) return std::nullopt;
  return found->second;
}

std::string VocabularyTokenizer::TokenBytes(TokenId id) const {
  if (vocabulary_.Type(id) != TokenType::kText) return "";
  return std::string(vocabulary_.Text(id));
}

std::string VocabularyTokenizer::ControlText(TokenId id) const {
  if (!IsControl(id)) return "";
  return std::string(vocabulary_.Text(id));
}

std::optional<TokenId> VocabularyTokenizer::FindControl(
    absl::string_view text) const {
  return vocabulary_.FindControl(text);
}

bool VocabularyTokenizer::IsControl(TokenId id) const {
  return vocabulary_.Type(id) == TokenType::kControl;
}

}  // namespace anyprec
