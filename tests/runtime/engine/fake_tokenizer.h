// A tokenizer whose vocabulary is a table of byte strings. Ids beyond the table
// are control tokens.
#ifndef ANYPREC_TESTS_RUNTIME_ENGINE_FAKE_TOKENIZER_H_
#define ANYPREC_TESTS_RUNTIME_ENGINE_FAKE_TOKENIZER_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

class FakeTokenizer : public Tokenizer {
 public:
  FakeTokenizer(std::vector<std::string> tokens, std::vector<TokenId> eos)
      : Tokenizer(SpecialTokens{.eos = std::move(eos)}),
        tokens_(std::move(tokens)) {}

  absl::StatusOr<std::vector<TokenId>> Encode(
      absl::string_view, const EncodeOptions&) const override {
    return absl::UnimplementedError("a fake does not encode");
  }
  int vocab_size() const override { return static_cast<int>(tokens_.size()); }
  std::string TokenBytes(TokenId id) const override {
    return IsControl(id) ? "" : tokens_[id];
  }
  std::string ControlText(TokenId id) const override {
    return IsControl(id) ? absl::StrCat("<", id, ">") : "";
  }
  std::optional<TokenId> FindControl(absl::string_view) const override {
    return std::nullopt;
  }
  bool IsControl(TokenId id) const override {
    return id < 0 || id >= vocab_size();
  }

 private:
  const std::vector<std::string> tokens_;
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_ENGINE_FAKE_TOKENIZER_H_
