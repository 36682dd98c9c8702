#include "runtime/tokenizer/tokenizer_json.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"
#include "runtime/tokenizer/files.h"
#include "runtime/tokenizer/json_object.h"
#include "runtime/tokenizer/tokenizer_json_pipeline.h"

namespace anyprec {
namespace {

using nlohmann::json;

absl::Status ParseVocabulary(JsonObject& model, BpeModelSpec& spec) {
  ASSIGN_OR_RETURN(const JsonObject vocabulary, model.Object("vocab"));
  const json& ids = *model.Find("vocab");
  spec.ids.reserve(ids.size());
  for (const auto& [text, value] : ids.items()) {
    ASSIGN_OR_RETURN(spec.ids[text], JsonTokenId(value, vocabulary.Path(text)));
  }
  return absl::OkStatus();
}

// "left right" in older files, ["left", "right"] in newer ones, whose tokens
// may contain spaces.
absl::StatusOr<std::pair<std::string, std::string>> ParseMerge(
    const json& value, absl::string_view path) {
  if (value.is_array() && value.size() == 2 && value[0].is_string() &&
      value[1].is_string()) {
    return std::pair(value[0].get<std::string>(), value[1].get<std::string>());
  }
  if (value.is_string()) {
    if (auto merge = SplitMerge(value.get_ref<const std::string&>())) {
      return *std::move(merge);
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      path, ": ", JsonExcerpt(value),
      ", needs two tokens with a space between, or an array of two"));
}

absl::Status ParseMerges(JsonObject& model, BpeModelSpec& spec) {
  RETURN_IF_ERROR(model.Get("merges").status());
  ASSIGN_OR_RETURN(const json* merges, model.Array("merges"));
  spec.merges.reserve(merges->size());
  for (size_t i = 0; i < merges->size(); ++i) {
    ASSIGN_OR_RETURN(spec.merges.emplace_back(),
                     ParseMerge((*merges)[i], absl::StrCat(model.Path("merges"),
                                                           "[", i, "]")));
  }
  return absl::OkStatus();
}

absl::Status ParseModel(JsonObject& root, BpeModelSpec& spec) {
  ASSIGN_OR_RETURN(JsonObject model, root.Object("model"));
  // Files older than the field "type" are told by their merges.
  if (model.Find("type") != nullptr) {
    RETURN_IF_ERROR(model.Require("type", "BPE"));
  }
  // Random merges, for training.
  RETURN_IF_ERROR(model.Require("dropout", 0.0));
  RETURN_IF_ERROR(model.Require("continuing_subword_prefix", ""));
  RETURN_IF_ERROR(model.Require("end_of_word_suffix", ""));
  ASSIGN_OR_RETURN(spec.fuse_unknown, model.Bool("fuse_unk", false));
  ASSIGN_OR_RETURN(spec.byte_fallback, model.Bool("byte_fallback", false));
  ASSIGN_OR_RETURN(spec.ignore_merges, model.Bool("ignore_merges", false));
  RETURN_IF_ERROR(ParseVocabulary(model, spec));
  RETURN_IF_ERROR(ParseMerges(model, spec));
  if (model.Find("unk_token") != nullptr) {
    ASSIGN_OR_RETURN(const std::string unknown, model.String("unk_token"));
    const auto found = spec.ids.find(unknown);
    if (found == spec.ids.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(model.Path("unk_token"), ": \"", unknown,
                       "\" is not in the vocabulary"));
    }
    spec.unknown = found->second;
  }
  return model.RejectUnread();
}

absl::Status ParseAddedTokens(JsonObject& root, BpeTokenizerSpec& spec) {
  ASSIGN_OR_RETURN(const json* list, root.Array("added_tokens"));
  if (list == nullptr) return absl::OkStatus();
  for (size_t i = 0; i < list->size(); ++i) {
    ASSIGN_OR_RETURN(
        JsonObject object,
        JsonObject::Create((*list)[i], absl::StrCat("added_tokens[", i, "]")));
    AddedToken token;
    ASSIGN_OR_RETURN(const json* id, object.Get("id"));
    ASSIGN_OR_RETURN(token.id, JsonTokenId(*id, object.Path("id")));
    ASSIGN_OR_RETURN(token.text, object.String("content"));
    ASSIGN_OR_RETURN(token.control, object.Bool("special", false));
    ASSIGN_OR_RETURN(token.strip_left, object.Bool("lstrip", false));
    ASSIGN_OR_RETURN(token.strip_right, object.Bool("rstrip", false));
    ASSIGN_OR_RETURN(const bool normalized,
                     object.Bool("normalized", !token.control));
    RETURN_IF_ERROR(object.Require("single_word", false));
    RETURN_IF_ERROR(object.RejectUnread());
    // Where nothing is normalized both are the same, and one search suffices.
    const bool in_normalized = normalized && !spec.normalizer.empty();
    (in_normalized ? spec.added_normalized : spec.added)
        .push_back(std::move(token));
  }
  return absl::OkStatus();
}

std::optional<TokenId> FindToken(const BpeTokenizerSpec& spec,
                                 absl::string_view name, bool control_only) {
  for (const auto* added : {&spec.added, &spec.added_normalized}) {
    for (const AddedToken& token : *added) {
      if (token.text == name && (token.control || !control_only)) {
        return token.id;
      }
    }
  }
  const auto found = spec.model.ids.find(name);
  if (control_only || found == spec.model.ids.end()) return std::nullopt;
  return found->second;
}

// Tokens around a text: the post_processor's, unless the tokenizer's class has
// its own rule.
absl::Status SetAffixes(const TokenizerConfig& config,
                        ParsedPostProcessor parsed, BpeTokenizerSpec& spec) {
  spec.prefix = std::move(parsed.prefix);
  spec.suffix = std::move(parsed.suffix);
  if (!config.IsLlama()) return absl::OkStatus();
  if (config.add_bos_token.has_value() || !parsed.present) {
    spec.prefix.clear();
    if (config.add_bos_token.value_or(true) && spec.special.bos.has_value()) {
      spec.prefix.push_back(*spec.special.bos);
    }
  }
  if (config.add_eos_token.has_value()) {
    spec.suffix.clear();
    if (*config.add_eos_token && spec.special.primary_eos.has_value()) {
      spec.suffix.push_back(*spec.special.primary_eos);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BpeTokenizerSpec> ParseRoot(JsonObject root,
                                           const TokenizerConfig& config) {
  BpeTokenizerSpec spec;
  RETURN_IF_ERROR(root.Require("version", "1.0"));
  for (const char* key : {"truncation", "padding"}) root.Find(key);
  RETURN_IF_ERROR(ParseModel(root, spec.model));
  ASSIGN_OR_RETURN(spec.normalizer, ParseNormalizer(root));
  ASSIGN_OR_RETURN(ParsedPreTokenizer words, ParsePreTokenizer(root));
  spec.pre_tokenizer = std::move(words.pre_tokenizer);
  ASSIGN_OR_RETURN(ParsedPostProcessor affixes, ParsePostProcessor(root));
  ASSIGN_OR_RETURN(ParsedDecoder decoder, ParseDecoder(root));
  if (words.byte_level != decoder.byte_level) {
    return absl::UnimplementedError(
        "decoder: ByteLevel must stand in both pre_tokenizer and decoder, or "
        "in neither");
  }
  spec.model.alphabet = words.byte_level ? BpeModelSpec::Alphabet::kBytes
                                         : BpeModelSpec::Alphabet::kCharacters;
  spec.space_mark = std::move(decoder.space_mark);
  RETURN_IF_ERROR(ParseAddedTokens(root, spec));
  RETURN_IF_ERROR(root.RejectUnread());
  ASSIGN_OR_RETURN(
      spec.special,
      ResolveSpecialTokens(
          config,
          [&](absl::string_view s) { return FindToken(spec, s, false); },
          [&](absl::string_view s) { return FindToken(spec, s, true); }));
  spec.special.strip_leading_space = decoder.strip_leading_space;
  RETURN_IF_ERROR(SetAffixes(config, std::move(affixes), spec));
  return spec;
}

}  // namespace

absl::StatusOr<BpeTokenizerSpec> ReadTokenizerJson(
    const std::string& path, const TokenizerConfig& config) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadSmallFile(path, kMaxTokenizerFileBytes));
  ASSIGN_OR_RETURN(const json value, ParseJsonObject(text, path));
  ASSIGN_OR_RETURN(JsonObject root, JsonObject::Create(value, ""));
  absl::StatusOr<BpeTokenizerSpec> spec = ParseRoot(std::move(root), config);
  if (!spec.ok()) return InFile(path, spec.status());
  return spec;
}

}  // namespace anyprec
