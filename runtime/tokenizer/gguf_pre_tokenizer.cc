#include "runtime/tokenizer/gguf_pre_tokenizer.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

constexpr absl::string_view kDigit = R"(\p{N})";

// Digits in groups of up to three (Llama 3), or one by one (Qwen 2).
constexpr absl::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr absl::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// What llama.cpp does for a model whose words it does not know.
constexpr absl::string_view kPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr absl::string_view kDigits = R"(\p{N}+)";
constexpr absl::string_view kThreeDigits = "[0-9][0-9][0-9]";

struct Entry {
  absl::string_view name;
  std::vector<absl::string_view> patterns;  // one after the other
  bool ignore_merges = false;
  bool add_bos_default = false;
};

const std::vector<Entry>& Entries() {
  constexpr absl::string_view kGpt2 = PreTokenizer::kGpt2Pattern;
  static const auto& entries = *new std::vector<Entry>{
      {"default", {kPunctuation, kGpt2, kDigits, kThreeDigits}},
      {"gpt-2", {kGpt2}},
      {"phi-2", {kGpt2}},
      {"mpt", {kGpt2}},
      {"olmo", {kGpt2}},
      {"smollm", {kDigit, kGpt2}},
      {"starcoder", {kDigit, kGpt2}},
      {"refact", {kDigit, kGpt2}},
      {"command-r", {kDigit, kGpt2}},
      {"llama3", {kLlama3Pattern}, true, true},
      {"llama-v3", {kLlama3Pattern}, true, true},
      {"llama-bpe", {kLlama3Pattern}, true, true},
      {"smaug-bpe", {kLlama3Pattern}},
      {"dbrx", {kLlama3Pattern}},
      {"qwen2", {kQwen2Pattern}},
      {"deepseek-r1-qwen", {kQwen2Pattern}},
      {"stablelm2", {kQwen2Pattern}},
  };
  return entries;
}

}  // namespace

absl::StatusOr<GgufPreTokenizer> MakeGgufPreTokenizer(absl::string_view name) {
  std::string known;
  for (const Entry& entry : Entries()) {
    if (entry.name != name) {
      absl::StrAppend(&known, known.empty() ? "" : ", ", entry.name);
      continue;
    }
    std::vector<PreTokenizer::Step> steps;
    for (const absl::string_view pattern : entry.patterns) {
      ASSIGN_OR_RETURN(Regex regex, Regex::Compile(pattern));
      steps.push_back(PreTokenizer::Split{std::move(regex)});
    }
    return GgufPreTokenizer{PreTokenizer(std::move(steps)), entry.ignore_merges,
                            entry.add_bos_default};
  }
  return absl::UnimplementedError(absl::StrCat(
      "tokenizer.ggml.pre: \"", name, "\" is not supported, only ", known));
}

}  // namespace anyprec
