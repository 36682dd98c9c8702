#include "runtime/tokenizer/sentencepiece_tokenizer.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/byte_token.h"
#include "runtime/tokenizer/encode_input.h"
#include "runtime/tokenizer/sentencepiece_proto.h"

namespace anyprec {
namespace {

using Piece = SentencePieceProto::Piece;

// U+2581, which stands for a space in pieces.
constexpr absl::string_view kSpaceMark = "\xE2\x96\x81";

absl::StatusOr<Token> ToToken(const Piece& piece) {
  switch (piece.type) {
    case SentencePieceProto::kByte: {
      const std::optional<uint8_t> byte = ParseByteToken(piece.text);
      if (!byte.has_value()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "piece \"", piece.text, "\" is of type BYTE, needs \"<0xNN>\""));
      }
      return Token{std::string(1, static_cast<char>(*byte)), TokenType::kText};
    }
    case SentencePieceProto::kControl:
    case SentencePieceProto::kUnknown:
      return Token{piece.text, TokenType::kControl};
    case SentencePieceProto::kUnused:
      return Token{piece.text, TokenType::kUnused};
    default:
      return Token{absl::StrReplaceAll(piece.text, {{kSpaceMark, " "}}),
                   TokenType::kText};
  }
}

// The tokens that a config adds to the model's, behind them or in their place.
absl::Status AddConfigTokens(const SentencePieceProto& proto,
                             const TokenizerConfig& config,
                             std::vector<Token>* tokens,
                             std::vector<AddedToken>* added) {
  const size_t limit = proto.pieces.size() + config.added_tokens.size();
  for (const AddedToken& token : config.added_tokens) {
    const auto id = static_cast<size_t>(token.id);
    const bool repeats =
        id < proto.pieces.size() && proto.pieces[id].text == token.text;
    if (id >= limit || (id < proto.pieces.size() && !repeats)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "added_tokens_decoder: id ", id, " of \"", token.text,
          "\" does not fit a model of ", proto.pieces.size(), " pieces"));
    }
    // The unknown token is never looked for in text.
    if (repeats && proto.pieces[id].type == SentencePieceProto::kUnknown) {
      continue;
    }
    if (tokens->size() <= id) tokens->resize(id + 1);
    if (token.control) {
      (*tokens)[id] = {token.text, TokenType::kControl};
    } else if (!repeats) {
      (*tokens)[id] = {token.text, TokenType::kText};
    }
    added->push_back(token);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SentencePieceModel>> CreateModel(
    absl::string_view model_proto) {
  std::string error;
  std::unique_ptr<SentencePieceModel> model = SentencePieceModel::Create(
      {model_proto.data(), model_proto.size()}, &error);
  if (model != nullptr) return model;
  if (!SentencePieceModel::IsAvailable()) {
    return absl::UnimplementedError(absl::StrCat("sentencepiece: ", error));
  }
  return absl::InvalidArgumentError(absl::StrCat("sentencepiece: ", error));
}

absl::StatusOr<SpecialTokens> FindSpecialTokens(const SentencePieceProto& proto,
                                                const TokenizerConfig& config,
                                                const Vocabulary& vocabulary) {
  const auto control = [&](absl::string_view name) {
    return vocabulary.FindControl(name);
  };
  ASSIGN_OR_RETURN(SpecialTokens special,
                   ResolveSpecialTokens(config, control, control));
  const auto is_control = [&](int id) {
    return vocabulary.Type(id) == TokenType::kControl;
  };
  if (!special.bos.has_value() && is_control(proto.bos_id)) {
    special.bos = proto.bos_id;
  }
  if (!special.primary_eos.has_value() && is_control(proto.eos_id)) {
    special.primary_eos = proto.eos_id;
    special.eos.push_back(proto.eos_id);
    SortIds(&special.eos);
  }
  special.strip_leading_space = proto.add_dummy_prefix;
  return special;
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(Vocabulary vocabulary,
                                               Parts parts)
    : VocabularyTokenizer(std::move(vocabulary), std::move(parts.special)),
      model_(std::move(parts.model)),
      inner_model_(std::move(parts.inner_model)),
      cutter_(std::move(parts.cutter)),
      adds_prefix_(parts.adds_prefix),
      added_(std::move(parts.added)),
      prefix_(std::move(parts.prefix)),
      suffix_(std::move(parts.suffix)) {}

absl::StatusOr<std::unique_ptr<Tokenizer>> SentencePieceTokenizer::Create(
    absl::string_view model_proto, const TokenizerConfig& config) {
  ASSIGN_OR_RETURN(const SentencePieceProto proto,
                   ParseSentencePieceProto(model_proto));
  Parts parts;
  parts.cutter = SentencePieceCutter(proto);
  parts.adds_prefix = proto.add_dummy_prefix;
  std::vector<Token> tokens;
  for (const Piece& piece : proto.pieces) {
    ASSIGN_OR_RETURN(tokens.emplace_back(), ToToken(piece));
    if (piece.type != SentencePieceProto::kControl) continue;
    AddedToken control;
    control.text = piece.text;
    control.id = static_cast<TokenId>(tokens.size()) - 1;
    control.control = true;
    parts.added.push_back(std::move(control));
  }
  RETURN_IF_ERROR(AddConfigTokens(proto, config, &tokens, &parts.added));
  Vocabulary vocabulary(std::move(tokens));

  ASSIGN_OR_RETURN(parts.special, FindSpecialTokens(proto, config, vocabulary));
  if (config.add_bos_token.value_or(true) && parts.special.bos.has_value()) {
    parts.prefix.push_back(*parts.special.bos);
  }
  if (config.add_eos_token.value_or(false)) {
    if (parts.special.primary_eos.has_value()) {
      parts.suffix.push_back(*parts.special.primary_eos);
    }
  }
  ASSIGN_OR_RETURN(parts.model, CreateModel(model_proto));
  if (!config.legacy && proto.add_dummy_prefix) {
    ASSIGN_OR_RETURN(
        parts.inner_model,
        CreateModel(absl::StrCat(model_proto, NoDummyPrefixOverride())));
  }
  return std::unique_ptr<Tokenizer>(
      new SentencePieceTokenizer(std::move(vocabulary), std::move(parts)));
}

absl::StatusOr<std::vector<TokenId>> SentencePieceTokenizer::Encode(
    absl::string_view text, const EncodeOptions& options) const {
  ASSIGN_OR_RETURN(const EncodeInput input, EncodeInput::Create(text, options));
  std::vector<TokenId> ids;
  if (options.add_special) ids = prefix_;
  const absl::string_view valid = input.text();
  const auto segments = added_.Split(
      valid, [&](TextRange range) { return input.ControlAllowed(range); });
  for (const AddedTokens::Segment& segment : segments) {
    if (segment.id.has_value()) {
      ids.push_back(*segment.id);
      continue;
    }
    const auto [begin, end] = segment.range;
    RETURN_IF_ERROR(
        EncodePart(valid.substr(begin, end - begin), begin > 0, &ids));
  }
  if (options.add_special)
    ids.insert(ids.end(), suffix_.begin(), suffix_.end());
  return ids;
}

absl::Status SentencePieceTokenizer::EncodePart(
    absl::string_view text, bool after_control,
    std::vector<TokenId>* ids) const {
  const bool use_inner = after_control && inner_model_ != nullptr;
  const SentencePieceModel& model = use_inner ? *inner_model_ : *model_;
  const bool adds_prefix = adds_prefix_ && !use_inner;
  for (bool first = true; !text.empty(); first = false) {
    const size_t length = cutter_.PartLength(text);
    absl::string_view part = text.substr(0, length);
    text.remove_prefix(length);
    // The model puts the space back with which every part but the first begins.
    if (!first && adds_prefix) part.remove_prefix(1);
    std::string error;
    if (!model.Encode({part.data(), part.size()}, ids, &error)) {
      return absl::InternalError(absl::StrCat("sentencepiece: ", error));
    }
  }
  return absl::OkStatus();
}

}  // namespace anyprec
