#include "runtime/tokenizer/gpt2_files.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status_macros.h"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"
#include "runtime/tokenizer/files.h"
#include "runtime/tokenizer/json_object.h"

namespace anyprec {
namespace {

// GPT-2's only special token: BOS, EOS and unknown in one.
constexpr absl::string_view kEndOfText = "<|endoftext|>";

absl::Status ReadVocabulary(const std::string& path, BpeModelSpec& model) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadSmallFile(path, kMaxTokenizerFileBytes));
  ASSIGN_OR_RETURN(const nlohmann::json ids, ParseJsonObject(text, path));
  for (const auto& [token, value] : ids.items()) {
    const absl::StatusOr<TokenId> id = JsonTokenId(value, token);
    if (!id.ok()) return InFile(path, id.status());
    model.ids[token] = *id;
  }
  return absl::OkStatus();
}

absl::Status ReadMerges(const std::string& path, BpeModelSpec& model) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadSmallFile(path, kMaxTokenizerFileBytes));
  int line_number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    if (absl::EndsWith(line, "\r")) line.remove_suffix(1);
    if (line.empty() || absl::StartsWith(line, "#version")) continue;
    std::optional<std::pair<std::string, std::string>> merge = SplitMerge(line);
    if (!merge.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": line ", line_number,
                       ": needs two tokens with a space between"));
    }
    model.merges.push_back(*std::move(merge));
  }
  return absl::OkStatus();
}

std::optional<TokenId> FindAdded(const BpeTokenizerSpec& spec,
                                 absl::string_view name) {
  for (const AddedToken& token : spec.added) {
    if (token.control && token.text == name) return token.id;
  }
  return std::nullopt;
}

absl::Status SetSpecial(const TokenizerConfig& config, BpeTokenizerSpec& spec) {
  const auto any = [&](absl::string_view name) -> std::optional<TokenId> {
    const auto found = spec.model.ids.find(name);
    if (found != spec.model.ids.end()) return found->second;
    return FindAdded(spec, name);
  };
  const auto control = [&](absl::string_view name) {
    return FindAdded(spec, name);
  };
  ASSIGN_OR_RETURN(spec.special, ResolveSpecialTokens(config, any, control));
  if (!spec.special.primary_eos.has_value()) {
    spec.special.primary_eos = FindAdded(spec, kEndOfText);
  }
  if (!spec.special.bos.has_value())
    spec.special.bos = FindAdded(spec, kEndOfText);
  if (config.add_bos_token.value_or(false) && spec.special.bos.has_value()) {
    spec.prefix.push_back(*spec.special.bos);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BpeTokenizerSpec> ReadGpt2Files(absl::string_view folder,
                                               const TokenizerConfig& config) {
  BpeTokenizerSpec spec;
  RETURN_IF_ERROR(ReadVocabulary(JoinPath(folder, "vocab.json"), spec.model));
  RETURN_IF_ERROR(ReadMerges(JoinPath(folder, "merges.txt"), spec.model));
  ASSIGN_OR_RETURN(Regex words, Regex::Compile(PreTokenizer::kGpt2Pattern));
  std::vector<PreTokenizer::Step> steps;
  steps.push_back(PreTokenizer::Split{std::move(words)});
  spec.pre_tokenizer = PreTokenizer(std::move(steps));
  spec.added = config.added_tokens;
  const auto end_of_text = spec.model.ids.find(kEndOfText);
  if (end_of_text != spec.model.ids.end()) {
    AddedToken token;
    token.text = std::string(kEndOfText);
    token.id = end_of_text->second;
    token.control = true;
    spec.added.push_back(std::move(token));
  }
  RETURN_IF_ERROR(SetSpecial(config, spec));
  return spec;
}

}  // namespace anyprec
