#include "runtime/tokenizer/tokenizer_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"
#include "runtime/tokenizer/files.h"
#include "runtime/tokenizer/json_object.h"

namespace anyprec {
namespace {

using nlohmann::json;

// ChatML and GPT-2; Llama 2; Llama 3; Phi 3; Gemma.
constexpr absl::string_view kKnownEos[] = {
    "<|im_end|>",      "<|endoftext|>", "</s>",    "<|eot_id|>",
    "<|end_of_text|>", "<|eom_id|>",    "<|end|>", "<end_of_turn>",
};

// A token is written as its text, or as an object whose "content" is its text.
absl::StatusOr<std::optional<std::string>> TokenName(JsonObject& object,
                                                     absl::string_view key) {
  const json* value = object.Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  ASSIGN_OR_RETURN(JsonObject token,
                   JsonObject::Create(*value, object.Path(key)));
  ASSIGN_OR_RETURN(std::string content, token.String("content"));
  return content;
}

absl::StatusOr<std::optional<bool>> OptionalBool(JsonObject& object,
                                                 absl::string_view key) {
  if (object.Find(key) == nullptr) return std::nullopt;
  ASSIGN_OR_RETURN(const bool value, object.Bool(key, false));
  return value;
}

absl::Status ReadAddedTokens(JsonObject& root, TokenizerConfig& config) {
  if (root.Find("added_tokens_decoder") == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonObject decoder,
                   root.Object("added_tokens_decoder"));
  for (const auto& [key, value] : root.Find("added_tokens_decoder")->items()) {
    const std::string path = decoder.Path(key);
    ASSIGN_OR_RETURN(JsonObject token, JsonObject::Create(value, path));
    AddedToken added;
    if (!absl::SimpleAtoi(key, &added.id) || added.id < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": the key is no token id"));
    }
    ASSIGN_OR_RETURN(added.text, token.String("content"));
    ASSIGN_OR_RETURN(added.control, token.Bool("special", false));
    ASSIGN_OR_RETURN(added.strip_left, token.Bool("lstrip", false));
    ASSIGN_OR_RETURN(added.strip_right, token.Bool("rstrip", false));
    config.added_tokens.push_back(std::move(added));
  }
  return absl::OkStatus();
}

// A string, or a list of named templates of which we take "default".
absl::Status ReadChatTemplate(JsonObject& root, TokenizerConfig& config) {
  const json* value = root.Find("chat_template");
  if (value == nullptr) return absl::OkStatus();
  if (value->is_string()) {
    config.chat_template = value->get<std::string>();
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const json* list, root.Array("chat_template"));
  for (size_t i = 0; i < list->size(); ++i) {
    ASSIGN_OR_RETURN(
        JsonObject entry,
        JsonObject::Create((*list)[i], absl::StrCat("chat_template[", i, "]")));
    ASSIGN_OR_RETURN(const std::string name, entry.String("name"));
    if (name != "default") continue;
    ASSIGN_OR_RETURN(config.chat_template, entry.String("template"));
  }
  return absl::OkStatus();
}

absl::Status ReadTokenizerArguments(JsonObject& root, TokenizerConfig& config) {
  if (root.Find("tokenizer_class") != nullptr) {
    ASSIGN_OR_RETURN(config.tokenizer_class, root.String("tokenizer_class"));
  }
  ASSIGN_OR_RETURN(config.add_bos_token, OptionalBool(root, "add_bos_token"));
  ASSIGN_OR_RETURN(config.add_eos_token, OptionalBool(root, "add_eos_token"));
  ASSIGN_OR_RETURN(config.legacy, root.Bool("legacy", true));
  ASSIGN_OR_RETURN(config.bos_token, TokenName(root, "bos_token"));
  ASSIGN_OR_RETURN(config.eos_token, TokenName(root, "eos_token"));
  RETURN_IF_ERROR(ReadAddedTokens(root, config));
  return ReadChatTemplate(root, config);
}

absl::Status ReadSpecialTokensMap(JsonObject& root, TokenizerConfig& config) {
  if (!config.bos_token.has_value()) {
    ASSIGN_OR_RETURN(config.bos_token, TokenName(root, "bos_token"));
  }
  if (!config.eos_token.has_value()) {
    ASSIGN_OR_RETURN(config.eos_token, TokenName(root, "eos_token"));
  }
  return absl::OkStatus();
}

// eos_token_id is one id or a list of them.
absl::Status ReadModelIds(JsonObject& root, TokenizerConfig& config) {
  if (root.Find("bos_token_id") != nullptr) {
    ASSIGN_OR_RETURN(config.bos_id, JsonTokenId(*root.Find("bos_token_id"),
                                                root.Path("bos_token_id")));
  }
  const json* eos = root.Find("eos_token_id");
  if (eos == nullptr) return absl::OkStatus();
  const json list = eos->is_array() ? *eos : json::array({*eos});
  for (const json& value : list) {
    ASSIGN_OR_RETURN(config.eos_ids.emplace_back(),
                     JsonTokenId(value, root.Path("eos_token_id")));
  }
  return absl::OkStatus();
}

// Reads folder/name, where it exists, by `read`.
absl::Status ReadOptional(
    absl::string_view folder, absl::string_view name,
    absl::FunctionRef<absl::Status(JsonObject&, TokenizerConfig&)> read,
    TokenizerConfig& config) {
  const std::string path = JoinPath(folder, name);
  if (!IsFile(path)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string text,
                   ReadSmallFile(path, kMaxTokenizerFileBytes));
  ASSIGN_OR_RETURN(const json value, ParseJsonObject(text, path));
  ASSIGN_OR_RETURN(JsonObject root, JsonObject::Create(value, ""));
  return InFile(path, read(root, config));
}

}  // namespace

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(absl::string_view folder) {
  TokenizerConfig config;
  RETURN_IF_ERROR(ReadOptional(folder, "tokenizer_config.json",
                               ReadTokenizerArguments, config));
  RETURN_IF_ERROR(ReadOptional(folder, "special_tokens_map.json",
                               ReadSpecialTokensMap, config));
  RETURN_IF_ERROR(ReadOptional(folder, "config.json", ReadModelIds, config));
  RETURN_IF_ERROR(
      ReadOptional(folder, "generation_config.json", ReadModelIds, config));
  const std::string jinja = JoinPath(folder, "chat_template.jinja");
  if (IsFile(jinja)) {
    ASSIGN_OR_RETURN(config.chat_template,
                     ReadSmallFile(jinja, kMaxTokenizerFileBytes));
  }
  return config;
}

std::vector<TokenId> KnownEosIds(TokenLookup control) {
  std::vector<TokenId> ids;
  for (const absl::string_view name : kKnownEos) {
    if (const std::optional<TokenId> id = control(name)) ids.push_back(*id);
  }
  return ids;
}

void SortIds(std::vector<TokenId>* ids) {
  std::sort(ids->begin(), ids->end());
  ids->erase(std::unique(ids->begin(), ids->end()), ids->end());
}

absl::StatusOr<SpecialTokens> ResolveSpecialTokens(
    const TokenizerConfig& config, TokenLookup any_token, TokenLookup control) {
  SpecialTokens special;
  special.chat_template = config.chat_template;
  special.bos = config.bos_id;
  special.eos = config.eos_ids;
  const auto find = [&](absl::string_view field,
                        const std::string& name) -> absl::StatusOr<TokenId> {
    const std::optional<TokenId> id = any_token(name);
    if (id.has_value()) return *id;
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": \"", name, "\" is not in the vocabulary"));
  };
  if (config.bos_token.has_value()) {
    ASSIGN_OR_RETURN(special.bos, find("bos_token", *config.bos_token));
  }
  if (config.eos_token.has_value()) {
    ASSIGN_OR_RETURN(special.primary_eos, find("eos_token", *config.eos_token));
    special.eos.push_back(*special.primary_eos);
  } else if (!config.eos_ids.empty()) {
    special.primary_eos = config.eos_ids.front();
  }
  for (const TokenId id : KnownEosIds(control)) special.eos.push_back(id);
  SortIds(&special.eos);
  return special;
}

}  // namespace anyprec
