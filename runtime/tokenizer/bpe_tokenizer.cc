#include "runtime/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/byte_token.h"
#include "runtime/tokenizer/encode_input.h"

namespace anyprec {
namespace {

using Alphabet = BpeModelSpec::Alphabet;

// Vocabularies are numbered without gaps, or nearly so. What lies above this
// bound is a damaged number, for which no table shall be allocated.
size_t MaxId(size_t tokens) { return 2 * tokens + 1024; }

// The bytes that a token of the model stands for.
std::string ModelTokenBytes(const std::string& text,
                            const BpeTokenizerSpec& spec) {
  if (spec.model.alphabet == Alphabet::kBytes) {
    // Outside the alphabet are tokens that someone added by hand.
    return DecodeByteLevel(text).value_or(text);
  }
  if (spec.model.byte_fallback) {
    if (const std::optional<uint8_t> byte = ParseByteToken(text)) {
      return std::string(1, static_cast<char>(*byte));
    }
  }
  if (spec.space_mark.empty()) return text;
  return absl::StrReplaceAll(text, {{spec.space_mark, " "}});
}

absl::Status CheckId(TokenId id, absl::string_view text, size_t limit) {
  if (id >= 0 && static_cast<size_t>(id) <= limit) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("token \"", text, "\" has id ", id,
                   ", of this number of tokens none may exceed ", limit));
}

absl::Status AddModelTokens(const BpeTokenizerSpec& spec, size_t limit,
                            std::vector<Token>* tokens) {
  for (const auto& [text, id] : spec.model.ids) {
    RETURN_IF_ERROR(CheckId(id, text, limit));
    if (tokens->size() <= static_cast<size_t>(id)) tokens->resize(id + 1);
    Token& token = (*tokens)[id];
    if (token.type != TokenType::kUnused) {
      return absl::InvalidArgumentError(absl::StrCat(
          "id ", id, " belongs to \"", text, "\" and to \"", token.text, "\""));
    }
    token = {ModelTokenBytes(text, spec), TokenType::kText};
  }
  return absl::OkStatus();
}

// An added token may repeat one of the model, whose type it then decides.
absl::Status AddAddedTokens(const std::vector<AddedToken>& added,
                            const BpeModelSpec& model, size_t limit,
                            std::vector<Token>* tokens) {
  for (const AddedToken& token : added) {
    RETURN_IF_ERROR(CheckId(token.id, token.text, limit));
    if (tokens->size() <= static_cast<size_t>(token.id)) {
      tokens->resize(token.id + 1);
    }
    Token& slot = (*tokens)[token.id];
    const auto same = model.ids.find(token.text);
    const bool is_new = slot.type == TokenType::kUnused;
    const bool repeats = same != model.ids.end() ? same->second == token.id
                                                 : slot.text == token.text;
    if (!is_new && !repeats) {
      return absl::InvalidArgumentError(
          absl::StrCat("id ", token.id, " belongs to \"", token.text,
                       "\" and to \"", slot.text, "\""));
    }
    if (token.control) {
      slot = {token.text, TokenType::kControl};
    } else if (is_new) {
      slot = {token.text, TokenType::kText};
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Token>> MakeTokens(const BpeTokenizerSpec& spec) {
  const size_t limit = MaxId(spec.model.ids.size() + spec.added.size() +
                             spec.added_normalized.size());
  std::vector<Token> tokens;
  RETURN_IF_ERROR(AddModelTokens(spec, limit, &tokens));
  RETURN_IF_ERROR(AddAddedTokens(spec.added, spec.model, limit, &tokens));
  RETURN_IF_ERROR(
      AddAddedTokens(spec.added_normalized, spec.model, limit, &tokens));
  if (tokens.empty()) {
    return absl::InvalidArgumentError("the vocabulary is empty");
  }
  return tokens;
}

// The texts of these tokens as they look in a normalized text.
std::vector<AddedToken> NormalizeTexts(std::vector<AddedToken> tokens,
                                       const Normalizer& normalizer) {
  for (AddedToken& token : tokens) {
    token.text = normalizer.Normalize(token.text);
  }
  return tokens;
}

}  // namespace

struct BpeTokenizer::Work {
  const EncodeInput& input;
  std::vector<TokenId> ids;
  Regex::Scratch regex;
  BpeModel::Scratch bpe;
};

absl::StatusOr<std::unique_ptr<Tokenizer>> BpeTokenizer::Create(
    BpeTokenizerSpec spec) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, MakeTokens(spec));
  ASSIGN_OR_RETURN(BpeModel model, BpeModel::Create(spec.model));
  return std::unique_ptr<Tokenizer>(new BpeTokenizer(
      Vocabulary(std::move(tokens)), std::move(model), std::move(spec)));
}

BpeTokenizer::BpeTokenizer(Vocabulary vocabulary, BpeModel model,
                           BpeTokenizerSpec spec)
    : VocabularyTokenizer(std::move(vocabulary), std::move(spec.special)),
      model_(std::move(model)),
      normalizer_(std::move(spec.normalizer)),
      pre_tokenizer_(std::move(spec.pre_tokenizer)),
      added_(std::move(spec.added)),
      added_normalized_(
          NormalizeTexts(std::move(spec.added_normalized), normalizer_)),
      prefix_(std::move(spec.prefix)),
      suffix_(std::move(spec.suffix)) {}

absl::StatusOr<std::vector<TokenId>> BpeTokenizer::Encode(
    absl::string_view text, const EncodeOptions& options) const {
  ASSIGN_OR_RETURN(const EncodeInput input, EncodeInput::Create(text, options));
  Work work{input, {}, {}, {}};
  if (options.add_special) work.ids = prefix_;
  const auto segments = added_.Split(
      input.text(), [&](TextRange r) { return input.ControlAllowed(r); });
  for (const AddedTokens::Segment& segment : segments) {
    if (segment.id.has_value()) {
      work.ids.push_back(*segment.id);
    } else {
      RETURN_IF_ERROR(EncodeUnnormalized(input.text(), segment.range, work));
    }
  }
  if (options.add_special) {
    work.ids.insert(work.ids.end(), suffix_.begin(), suffix_.end());
  }
  return std::move(work.ids);
}

absl::Status BpeTokenizer::EncodeUnnormalized(absl::string_view text,
                                              TextRange range,
                                              Work& work) const {
  const absl::string_view part =
      text.substr(range.begin, range.end - range.begin);
  const bool at_start = range.begin == 0;
  if (added_normalized_.empty()) {
    if (normalizer_.empty()) return EncodeWords(part, at_start, work);
    return EncodeWords(normalizer_.Normalize(part), at_start, work);
  }
  // Literal ranges are the original text's; origins lead back to it.
  const bool uniform = work.input.ControlUniform();
  const Normalizer::Traced traced =
      uniform ? Normalizer::Traced{normalizer_.Normalize(part), {}}
              : normalizer_.NormalizeTraced(part);
  const auto allowed = [&](TextRange r) {
    if (uniform) return work.input.ControlAllowed(r);
    return work.input.ControlAllowed(
        {range.begin + traced.origins[r.begin],
         range.begin + traced.origins[r.end - 1] + 1});
  };
  const absl::string_view normalized = traced.text;
  for (const AddedTokens::Segment& segment :
       added_normalized_.Split(normalized, allowed)) {
    if (segment.id.has_value()) {
      work.ids.push_back(*segment.id);
      continue;
    }
    RETURN_IF_ERROR(
        EncodeWords(normalized.substr(segment.range.begin,
                                      segment.range.end - segment.range.begin),
                    at_start && segment.range.begin == 0, work));
  }
  return absl::OkStatus();
}

absl::Status BpeTokenizer::EncodeWords(absl::string_view text,
                                       bool at_text_start, Work& work) const {
  return pre_tokenizer_.Run(text, at_text_start, work.regex,
                            [&](absl::string_view word) {
                              model_.Tokenize(word, work.bpe, &work.ids);
                            });
}

}  // namespace anyprec
