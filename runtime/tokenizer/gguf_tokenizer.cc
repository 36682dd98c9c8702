#include "runtime/tokenizer/gguf_tokenizer.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/bpe_tokenizer.h"
#include "runtime/tokenizer/files.h"
#include "runtime/tokenizer/gguf_pre_tokenizer.h"
#include "runtime/tokenizer/sentencepiece_proto.h"
#include "runtime/tokenizer/sentencepiece_tokenizer.h"
#include "runtime/tokenizer/tokenizer_config.h"

namespace anyprec {
namespace {

using PieceType = SentencePieceProto::PieceType;

std::string Key(absl::string_view name) {
  return absl::StrCat("tokenizer.ggml.", name);
}

absl::StatusOr<std::optional<TokenId>> OptionalId(const GgufFile& file,
                                                  absl::string_view name) {
  const std::string key = Key(name);
  if (!file.Has(key)) return std::nullopt;
  ASSIGN_OR_RETURN(const uint64_t id, file.GetUint(key));
  if (id > uint64_t{std::numeric_limits<TokenId>::max()}) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, ": ", id, " is no token id"));
  }
  return static_cast<TokenId>(id);
}

absl::StatusOr<std::optional<bool>> OptionalBool(const GgufFile& file,
                                                 absl::string_view name) {
  const std::string key = Key(name);
  if (!file.Has(key)) return std::nullopt;
  ASSIGN_OR_RETURN(const bool value, file.GetBool(key));
  return value;
}

// tokens and token_type, whose lengths agree.
struct Tokens {
  std::vector<std::string> texts;
  std::vector<int64_t> types;  // kNormal where the file has none
};

absl::StatusOr<Tokens> ReadTokens(const GgufFile& file) {
  Tokens tokens;
  ASSIGN_OR_RETURN(tokens.texts, file.GetStringArray(Key("tokens")));
  if (!file.Has(Key("token_type"))) {
    tokens.types.assign(tokens.texts.size(), PieceType::kNormal);
    return tokens;
  }
  ASSIGN_OR_RETURN(tokens.types, file.GetIntArray(Key("token_type")));
  if (tokens.types.size() != tokens.texts.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Key("token_type"), ": ", tokens.types.size(),
                     " entries, needs ", tokens.texts.size()));
  }
  for (size_t i = 0; i < tokens.types.size(); ++i) {
    const int64_t type = tokens.types[i];
    if (type < PieceType::kNormal || type > PieceType::kByte) {
      return absl::InvalidArgumentError(absl::StrCat(
          Key("token_type"), "[", i, "]: ", type, ", needs 1 to 6"));
    }
  }
  return tokens;
}

// The metadata that stands in other models in tokenizer_config.json.
absl::StatusOr<TokenizerConfig> ReadConfig(const GgufFile& file) {
  TokenizerConfig config;
  ASSIGN_OR_RETURN(config.bos_id, OptionalId(file, "bos_token_id"));
  for (const char* name : {"eos_token_id", "eot_token_id"}) {
    ASSIGN_OR_RETURN(const std::optional<TokenId> id, OptionalId(file, name));
    if (id.has_value()) config.eos_ids.push_back(*id);
  }
  ASSIGN_OR_RETURN(config.add_bos_token, OptionalBool(file, "add_bos_token"));
  ASSIGN_OR_RETURN(config.add_eos_token, OptionalBool(file, "add_eos_token"));
  constexpr absl::string_view kChatTemplate = "tokenizer.chat_template";
  if (file.Has(kChatTemplate)) {
    ASSIGN_OR_RETURN(config.chat_template, file.GetString(kChatTemplate));
  }
  return config;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadSentencePiece(
    const GgufFile& file) {
  ASSIGN_OR_RETURN(Tokens tokens, ReadTokens(file));
  ASSIGN_OR_RETURN(const std::vector<float> scores,
                   file.GetFloatArray(Key("scores")));
  if (scores.size() != tokens.texts.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Key("scores"), ": ", scores.size(), " entries, needs ",
                     tokens.texts.size()));
  }
  SentencePieceProto proto;
  proto.model_type = SentencePieceProto::kBpe;
  for (size_t i = 0; i < tokens.texts.size(); ++i) {
    const auto type = static_cast<int>(tokens.types[i]);
    proto.byte_fallback |= type == PieceType::kByte;
    proto.pieces.push_back({std::move(tokens.texts[i]), scores[i], type});
  }
  ASSIGN_OR_RETURN(TokenizerConfig config, ReadConfig(file));
  ASSIGN_OR_RETURN(const std::optional<TokenId> unknown,
                   OptionalId(file, "unknown_token_id"));
  ASSIGN_OR_RETURN(const std::optional<TokenId> eos,
                   OptionalId(file, "eos_token_id"));
  proto.unk_id = unknown.value_or(0);
  proto.bos_id = config.bos_id.value_or(1);
  proto.eos_id = eos.value_or(2);
  ASSIGN_OR_RETURN(const std::optional<bool> prefix,
                   OptionalBool(file, "add_space_prefix"));
  ASSIGN_OR_RETURN(const std::optional<bool> trim,
                   OptionalBool(file, "remove_extra_whitespaces"));
  proto.add_dummy_prefix = prefix.value_or(true);
  proto.remove_extra_whitespaces = trim.value_or(false);
  return SentencePieceTokenizer::Create(SerializeSentencePieceProto(proto),
                                        config);
}

absl::Status AddTokens(Tokens tokens, BpeTokenizerSpec& spec) {
  for (size_t i = 0; i < tokens.texts.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    std::string& text = tokens.texts[i];
    switch (tokens.types[i]) {
      case PieceType::kUnused:
        continue;
      case PieceType::kByte:
        return absl::UnimplementedError(absl::StrCat(
            Key("token_type"), "[", i, "]: a byte token in a gpt2 vocabulary"));
      case PieceType::kUnknown:
      case PieceType::kControl:
      case PieceType::kUserDefined: {
        AddedToken added;
        added.text = text;
        added.id = id;
        added.control = tokens.types[i] != PieceType::kUserDefined;
        spec.added.push_back(std::move(added));
        break;
      }
      default:
        break;
    }
    const auto [entry, inserted] =
        spec.model.ids.try_emplace(std::move(text), id);
    if (!inserted) {
      return absl::InvalidArgumentError(
          absl::StrCat(Key("tokens"), "[", i, "]: \"", entry->first, "\", as [",
                       entry->second, "]"));
    }
  }
  return absl::OkStatus();
}

absl::Status AddMerges(const GgufFile& file, BpeModelSpec& model) {
  ASSIGN_OR_RETURN(const std::vector<std::string> merges,
                   file.GetStringArray(Key("merges")));
  for (size_t i = 0; i < merges.size(); ++i) {
    std::optional<std::pair<std::string, std::string>> merge =
        SplitMerge(merges[i]);
    if (!merge.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(Key("merges"), "[", i, "]: \"", merges[i],
                       "\", needs two tokens with a space between"));
    }
    model.merges.push_back(*std::move(merge));
  }
  return absl::OkStatus();
}

// Which tokens stand around a text.
absl::Status SetAffixes(const TokenizerConfig& config, bool add_bos_default,
                        BpeTokenizerSpec& spec) {
  if (config.add_bos_token.value_or(add_bos_default)) {
    if (!config.bos_id.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(Key("bos_token_id"), " is missing"));
    }
    spec.prefix.push_back(*config.bos_id);
  }
  if (config.add_eos_token.value_or(false)) {
    if (!spec.special.primary_eos.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(Key("eos_token_id"), " is missing"));
    }
    spec.suffix.push_back(*spec.special.primary_eos);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadByteLevelBpe(
    const GgufFile& file) {
  BpeTokenizerSpec spec;
  // Files from before this key was introduced are of unknown words.
  std::string pre = "default";
  if (file.Has(Key("pre"))) {
    ASSIGN_OR_RETURN(pre, file.GetString(Key("pre")));
  }
  ASSIGN_OR_RETURN(GgufPreTokenizer words, MakeGgufPreTokenizer(pre));
  spec.pre_tokenizer = std::move(words.pre_tokenizer);
  spec.model.ignore_merges = words.ignore_merges;
  ASSIGN_OR_RETURN(const std::optional<bool> prefix,
                   OptionalBool(file, "add_space_prefix"));
  if (prefix.value_or(false)) {
    return absl::UnimplementedError(
        absl::StrCat(Key("add_space_prefix"), ": true in a gpt2 vocabulary"));
  }
  ASSIGN_OR_RETURN(Tokens tokens, ReadTokens(file));
  RETURN_IF_ERROR(AddTokens(std::move(tokens), spec));
  RETURN_IF_ERROR(AddMerges(file, spec.model));

  ASSIGN_OR_RETURN(const TokenizerConfig config, ReadConfig(file));
  const auto control = [&](absl::string_view name) -> std::optional<TokenId> {
    for (const AddedToken& token : spec.added) {
      if (token.control && token.text == name) return token.id;
    }
    return std::nullopt;
  };
  ASSIGN_OR_RETURN(spec.special,
                   ResolveSpecialTokens(config, control, control));
  RETURN_IF_ERROR(SetAffixes(config, words.add_bos_default, spec));
  return BpeTokenizer::Create(std::move(spec));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string model, file.GetString(Key("model")));
  if (model == "llama") return LoadSentencePiece(file);
  if (model == "gpt2") return LoadByteLevelBpe(file);
  return absl::UnimplementedError(
      absl::StrCat(Key("model"), ": \"", model,
                   "\" is not supported, only \"llama\" and \"gpt2\""));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadGgufTokenizer(
    const GgufFile& file) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Load(file);
  if (!tokenizer.ok()) return InFile(file.path(), tokenizer.status());
  return tokenizer;
}

}  // namespace anyprec
