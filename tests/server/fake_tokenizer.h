// A tokenizer that tests can foresee: one token for each byte, and three
// control tokens.
#ifndef ANYPREC_TESTS_SERVER_FAKE_TOKENIZER_H_
#define ANYPREC_TESTS_SERVER_FAKE_TOKENIZER_H_

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

// Ids 0..255 are bytes.
class FakeTokenizer : public Tokenizer {
 public:
  static constexpr TokenId kBos = 256;        // "<s>"
  static constexpr TokenId kTurnStart = 257;  // "<|im_start|>"
  static constexpr TokenId kTurnEnd = 258;    // "<|im_end|>", an EOS
  static constexpr int kVocabSize = 260;      // one row without a token

  FakeTokenizer() : Tokenizer(Special()) {}

  absl::StatusOr<std::vector<TokenId>> Encode(
      absl::string_view text, const EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    if (options.add_special) ids.push_back(kBos);
    for (size_t i = 0; i < text.size();) {
      const std::optional<TokenId> control =
          options.parse_special ? ControlAt(text, i, options.literal)
                                : std::nullopt;
      if (control.has_value()) {
        ids.push_back(*control);
        i += ControlText(*control).size();
      } else {
        ids.push_back(static_cast<unsigned char>(text[i++]));
      }
    }
    return ids;
  }

  int vocab_size() const override { return kTurnEnd + 1; }

  std::string TokenBytes(TokenId id) const override {
    return id >= 0 && id < 256 ? std::string(1, static_cast<char>(id)) : "";
  }

  std::string ControlText(TokenId id) const override {
    if (id == kBos) return "<s>";
    if (id == kTurnStart) return "<|im_start|>";
    if (id == kTurnEnd) return "<|im_end|>";
    return "";
  }

  std::optional<TokenId> FindControl(absl::string_view text) const override {
    for (const TokenId id : {kBos, kTurnStart, kTurnEnd}) {
      if (text == ControlText(id)) return id;
    }
    return std::nullopt;
  }

  bool IsControl(TokenId id) const override { return id >= kBos; }

 private:
  static SpecialTokens Special() {
    SpecialTokens special;
    special.bos = kBos;
    special.eos = {kTurnEnd};
    return special;
  }

  // None that touches a literal range.
  std::optional<TokenId> ControlAt(absl::string_view text, size_t begin,
                                   std::span<const TextRange> literal) const {
    for (const TokenId id : {kBos, kTurnStart, kTurnEnd}) {
      const std::string name = ControlText(id);
      const size_t end = begin + name.size();
      const bool is_literal = std::any_of(
          literal.begin(), literal.end(), [&](const TextRange& range) {
            return range.begin < end && begin < range.end;
          });
      if (!is_literal && text.substr(begin, name.size()) == name) return id;
    }
    return std::nullopt;
  }
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_SERVER_FAKE_TOKENIZER_H_
