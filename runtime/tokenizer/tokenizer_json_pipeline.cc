#include "runtime/tokenizer/tokenizer_json_pipeline.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

using nlohmann::json;

absl::Status UnsupportedType(const JsonObject& object, absl::string_view type,
                             absl::string_view supported) {
  return absl::UnimplementedError(
      absl::StrCat(object.Path("type"), ": \"", type,
                   "\" is not supported, only ", supported));
}

// Calls `parse` for a component, or for each member of a "Sequence" of them,
// which the field `members` lists. Sequences may nest (the file's depth is
// bounded).
absl::Status ForEachComponent(
    const json& value, const std::string& path, absl::string_view members,
    absl::FunctionRef<absl::Status(JsonObject&, const std::string& type)>
        parse) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Create(value, path));
  ASSIGN_OR_RETURN(const std::string type, object.String("type"));
  if (type != "Sequence") {
    RETURN_IF_ERROR(parse(object, type));
    return object.RejectUnread();
  }
  RETURN_IF_ERROR(object.Get(members).status());
  ASSIGN_OR_RETURN(const json* list, object.Array(members));
  for (size_t i = 0; i < list->size(); ++i) {
    RETURN_IF_ERROR(ForEachComponent(
        (*list)[i], absl::StrCat(object.Path(members), "[", i, "]"), members,
        parse));
  }
  return object.RejectUnread();
}

// {"String": "..."} or {"Regex": "..."}.
struct Pattern {
  std::string text;
  bool is_regex = false;
};

absl::StatusOr<Pattern> ParsePattern(JsonObject& object) {
  ASSIGN_OR_RETURN(JsonObject pattern, object.Object("pattern"));
  Pattern result;
  result.is_regex = pattern.Find("Regex") != nullptr;
  ASSIGN_OR_RETURN(result.text,
                   pattern.String(result.is_regex ? "Regex" : "String"));
  RETURN_IF_ERROR(pattern.RejectUnread());
  if (result.text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(pattern.path(), ": an empty pattern"));
  }
  return result;
}

// A "Replace" of the normalizer or the decoder.
absl::StatusOr<Normalizer::Replace> ParseReplace(JsonObject& object) {
  ASSIGN_OR_RETURN(Pattern pattern, ParsePattern(object));
  if (pattern.is_regex) {
    return absl::UnimplementedError(absl::StrCat(
        object.Path("pattern.Regex"), " is not supported, only String"));
  }
  ASSIGN_OR_RETURN(std::string content, object.String("content"));
  return Normalizer::Replace{std::move(pattern.text), std::move(content)};
}

absl::StatusOr<PreTokenizer::Step> ParseSplit(JsonObject& object) {
  using Behavior = PreTokenizer::Split::Behavior;
  ASSIGN_OR_RETURN(const Pattern pattern, ParsePattern(object));
  ASSIGN_OR_RETURN(const std::string name, object.String("behavior"));
  Behavior behavior = Behavior::kIsolated;
  if (name == "Removed") {
    behavior = Behavior::kRemoved;
  } else if (name == "MergedWithPrevious") {
    behavior = Behavior::kMergedWithPrevious;
  } else if (name == "MergedWithNext") {
    behavior = Behavior::kMergedWithNext;
  } else if (name != "Isolated") {
    return absl::UnimplementedError(absl::StrCat(
        object.Path("behavior"), ": \"", name, "\" is not supported"));
  }
  ASSIGN_OR_RETURN(const bool invert, object.Bool("invert", false));
  absl::StatusOr<Regex> regex = pattern.is_regex ? Regex::Compile(pattern.text)
                                                 : Regex::Literal(pattern.text);
  if (!regex.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(object.Path("pattern"), ": ", regex.status().message()));
  }
  return PreTokenizer::Split{*std::move(regex), behavior, invert};
}

absl::StatusOr<PreTokenizer::Step> IsolatePattern(absl::string_view pattern) {
  ASSIGN_OR_RETURN(Regex regex, Regex::Compile(pattern));
  return PreTokenizer::Split{std::move(regex)};
}

// Appends what a parser of steps gave.
absl::Status Append(absl::StatusOr<PreTokenizer::Step> step,
                    std::vector<PreTokenizer::Step>& steps) {
  if (!step.ok()) return std::move(step).status();
  steps.push_back(*std::move(step));
  return absl::OkStatus();
}

absl::Status ParseByteLevel(JsonObject& object,
                            std::vector<PreTokenizer::Step>& steps) {
  ASSIGN_OR_RETURN(const bool prefix, object.Bool("add_prefix_space", true));
  ASSIGN_OR_RETURN(const bool use_regex, object.Bool("use_regex", true));
  object.Find("trim_offsets");  // Offsets into the text; we report none.
  if (prefix) steps.emplace_back(PreTokenizer::PrefixSpace{});
  if (!use_regex) return absl::OkStatus();
  return Append(IsolatePattern(PreTokenizer::kGpt2Pattern), steps);
}

// Old files say "add_prefix_space", new ones "prepend_scheme".
absl::StatusOr<PreTokenizer::Metaspace> ParseMetaspace(JsonObject& object) {
  using Prepend = PreTokenizer::Metaspace::Prepend;
  PreTokenizer::Metaspace step;
  ASSIGN_OR_RETURN(step.replacement, object.String("replacement"));
  if (step.replacement.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(object.Path("replacement"), " is empty"));
  }
  object.Find("str_rep");  // The replacement once more, in old files.
  ASSIGN_OR_RETURN(const bool prefix, object.Bool("add_prefix_space", true));
  step.prepend = prefix ? Prepend::kAlways : Prepend::kNever;
  if (object.Find("prepend_scheme") != nullptr) {
    ASSIGN_OR_RETURN(const std::string scheme, object.String("prepend_scheme"));
    if (scheme == "always") {
      step.prepend = Prepend::kAlways;
    } else if (scheme == "first") {
      step.prepend = Prepend::kFirst;
    } else if (scheme == "never") {
      step.prepend = Prepend::kNever;
    } else {
      return absl::UnimplementedError(
          absl::StrCat(object.Path("prepend_scheme"), ": \"", scheme,
                       "\" is not supported"));
    }
  }
  ASSIGN_OR_RETURN(step.split, object.Bool("split", true));
  return step;
}

absl::Status ParsePreTokenizerComponent(JsonObject& object,
                                        const std::string& type,
                                        std::vector<PreTokenizer::Step>& steps,
                                        bool& byte_level) {
  if (byte_level) {
    // From there on HuggingFace's pieces are in the alphabet of bytes.
    return absl::UnimplementedError(
        absl::StrCat(object.path(), ": a step after ByteLevel"));
  }
  if (type == "Split") {
    return Append(ParseSplit(object), steps);
  } else if (type == "Digits") {
    ASSIGN_OR_RETURN(const bool each, object.Bool("individual_digits", false));
    return Append(IsolatePattern(each ? R"(\p{N})" : R"(\p{N}+)"), steps);
  } else if (type == "ByteLevel") {
    RETURN_IF_ERROR(ParseByteLevel(object, steps));
    byte_level = true;
  } else if (type == "Metaspace") {
    ASSIGN_OR_RETURN(PreTokenizer::Metaspace step, ParseMetaspace(object));
    steps.emplace_back(std::move(step));
  } else {
    return UnsupportedType(object, type,
                           "Sequence, Split, Digits, ByteLevel, Metaspace");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> ParseSpecialIds(JsonObject& table,
                                                     const std::string& name) {
  ASSIGN_OR_RETURN(JsonObject entry, table.Object(name));
  RETURN_IF_ERROR(entry.Get("ids").status());
  ASSIGN_OR_RETURN(const json* list, entry.Array("ids"));
  std::vector<TokenId> ids;
  for (const json& value : *list) {
    ASSIGN_OR_RETURN(ids.emplace_back(), JsonTokenId(value, entry.Path("ids")));
  }
  return ids;
}

// "single" lists what stands around the text, which is the sequence "A".
absl::Status ParseTemplate(JsonObject& object, ParsedPostProcessor& result) {
  object.Find("pair");  // Two texts at once; we never encode such.
  RETURN_IF_ERROR(object.Get("single").status());
  ASSIGN_OR_RETURN(const json* items, object.Array("single"));
  bool after_text = false;
  for (size_t i = 0; i < items->size(); ++i) {
    ASSIGN_OR_RETURN(
        JsonObject item,
        JsonObject::Create((*items)[i],
                           absl::StrCat(object.Path("single"), "[", i, "]")));
    if (item.Find("Sequence") != nullptr) {
      ASSIGN_OR_RETURN(JsonObject sequence, item.Object("Sequence"));
      RETURN_IF_ERROR(sequence.Require("id", "A"));
      if (after_text) {
        return absl::UnimplementedError(
            absl::StrCat(item.path(), ": the text a second time"));
      }
      after_text = true;
      continue;
    }
    ASSIGN_OR_RETURN(JsonObject special, item.Object("SpecialToken"));
    ASSIGN_OR_RETURN(const std::string name, special.String("id"));
    ASSIGN_OR_RETURN(JsonObject table, object.Object("special_tokens"));
    ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                     ParseSpecialIds(table, name));
    auto& side = after_text ? result.suffix : result.prefix;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  object.Find("special_tokens");  // Also read where no item refers to it.
  if (!after_text) {
    return absl::InvalidArgumentError(
        absl::StrCat(object.Path("single"), " has no Sequence"));
  }
  return absl::OkStatus();
}

absl::Status ParseStrip(JsonObject& object, ParsedDecoder& decoder) {
  RETURN_IF_ERROR(object.Require("content", " "));
  RETURN_IF_ERROR(object.Require("stop", 0));
  ASSIGN_OR_RETURN(const int64_t start, object.Int("start"));
  if (start != 0 && start != 1) {
    return absl::UnimplementedError(absl::StrCat(
        object.Path("start"), ": ", start, " is not supported, only 0 and 1"));
  }
  decoder.strip_leading_space = start == 1;
  return absl::OkStatus();
}

absl::Status ParseDecoderComponent(JsonObject& object, const std::string& type,
                                   ParsedDecoder& decoder) {
  if (type == "ByteLevel") {
    for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"}) {
      object.Find(key);  // Mean something to the pre_tokenizer only.
    }
    decoder.byte_level = true;
  } else if (type == "Replace") {
    ASSIGN_OR_RETURN(Normalizer::Replace replace, ParseReplace(object));
    if (replace.content != " " || !decoder.space_mark.empty()) {
      return absl::UnimplementedError(absl::StrCat(
          object.path(), ": only one Replace is supported, by a space"));
    }
    decoder.space_mark = std::move(replace.pattern);
  } else if (type == "Metaspace") {
    ASSIGN_OR_RETURN(PreTokenizer::Metaspace metaspace, ParseMetaspace(object));
    decoder.space_mark = std::move(metaspace.replacement);
    decoder.strip_leading_space =
        metaspace.prepend != PreTokenizer::Metaspace::Prepend::kNever;
  } else if (type == "Strip") {
    return ParseStrip(object, decoder);
  } else if (type != "ByteFallback" && type != "Fuse") {
    // These two say that bytes and tokens are joined, as all decoders do here.
    return UnsupportedType(
        object, type,
        "Sequence, ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Normalizer> ParseNormalizer(JsonObject& root) {
  std::vector<Normalizer::Step> steps;
  const json* value = root.Find("normalizer");
  if (value == nullptr) return Normalizer();
  RETURN_IF_ERROR(ForEachComponent(
      *value, "normalizer", "normalizers",
      [&](JsonObject& object, const std::string& type) -> absl::Status {
        if (type == "Prepend") {
          ASSIGN_OR_RETURN(std::string text, object.String("prepend"));
          steps.push_back(Normalizer::Prepend{std::move(text)});
        } else if (type == "Replace") {
          ASSIGN_OR_RETURN(steps.emplace_back(), ParseReplace(object));
        } else {
          return UnsupportedType(object, type, "Sequence, Prepend, Replace");
        }
        return absl::OkStatus();
      }));
  return Normalizer(std::move(steps));
}

absl::StatusOr<ParsedPreTokenizer> ParsePreTokenizer(JsonObject& root) {
  ParsedPreTokenizer result;
  const json* value = root.Find("pre_tokenizer");
  if (value == nullptr) return result;
  std::vector<PreTokenizer::Step> steps;
  RETURN_IF_ERROR(
      ForEachComponent(*value, "pre_tokenizer", "pretokenizers",
                       [&](JsonObject& object, const std::string& type) {
                         return ParsePreTokenizerComponent(object, type, steps,
                                                           result.byte_level);
                       }));
  result.pre_tokenizer = PreTokenizer(std::move(steps));
  return result;
}

absl::StatusOr<ParsedPostProcessor> ParsePostProcessor(JsonObject& root) {
  ParsedPostProcessor result;
  const json* value = root.Find("post_processor");
  if (value == nullptr) return result;
  RETURN_IF_ERROR(ForEachComponent(
      *value, "post_processor", "processors",
      [&](JsonObject& object, const std::string& type) -> absl::Status {
        if (type == "ByteLevel") {
          for (const char* key :
               {"add_prefix_space", "trim_offsets", "use_regex"}) {
            object.Find(key);  // Offsets into the text; we report none.
          }
          return absl::OkStatus();
        }
        if (type != "TemplateProcessing") {
          return UnsupportedType(object, type,
                                 "Sequence, ByteLevel, TemplateProcessing");
        }
        if (result.present) {
          return absl::UnimplementedError(
              absl::StrCat(object.path(), ": a second TemplateProcessing"));
        }
        result.present = true;
        return ParseTemplate(object, result);
      }));
  return result;
}

absl::StatusOr<ParsedDecoder> ParseDecoder(JsonObject& root) {
  ParsedDecoder decoder;
  ASSIGN_OR_RETURN(const json* value, root.Get("decoder"));
  RETURN_IF_ERROR(
      ForEachComponent(*value, "decoder", "decoders",
                       [&](JsonObject& object, const std::string& type) {
                         return ParseDecoderComponent(object, type, decoder);
                       }));
  return decoder;
}

}  // namespace anyprec
