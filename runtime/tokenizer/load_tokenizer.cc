// Tokenizer::Load, apart from tokenizer.cc because what it loads are
// Tokenizers.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/gguf.h"
#include "runtime/format/mapped_file.h"
#include "runtime/tokenizer/bpe_tokenizer.h"
#include "runtime/tokenizer/files.h"
#include "runtime/tokenizer/gguf_tokenizer.h"
#include "runtime/tokenizer/gpt2_files.h"
#include "runtime/tokenizer/sentencepiece_tokenizer.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer_config.h"
#include "runtime/tokenizer/tokenizer_json.h"

namespace anyprec {
namespace {

using Result = absl::StatusOr<std::unique_ptr<Tokenizer>>;

Result LoadGguf(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<GgufFile> file, GgufFile::Open(path));
  return LoadGgufTokenizer(*file);
}

Result LoadJson(const std::string& path, const std::string& folder) {
  ASSIGN_OR_RETURN(const TokenizerConfig config, ReadTokenizerConfig(folder));
  ASSIGN_OR_RETURN(BpeTokenizerSpec spec, ReadTokenizerJson(path, config));
  Result tokenizer = BpeTokenizer::Create(std::move(spec));
  if (!tokenizer.ok()) return InFile(path, tokenizer.status());
  return tokenizer;
}

Result LoadSentencePiece(const std::string& path, const std::string& folder) {
  ASSIGN_OR_RETURN(const TokenizerConfig config, ReadTokenizerConfig(folder));
  ASSIGN_OR_RETURN(const std::string bytes,
                   ReadSmallFile(path, kMaxTokenizerFileBytes));
  Result tokenizer = SentencePieceTokenizer::Create(bytes, config);
  if (!tokenizer.ok()) return InFile(path, tokenizer.status());
  return tokenizer;
}

Result LoadGpt2(const std::string& folder) {
  ASSIGN_OR_RETURN(const TokenizerConfig config, ReadTokenizerConfig(folder));
  ASSIGN_OR_RETURN(BpeTokenizerSpec spec, ReadGpt2Files(folder, config));
  Result tokenizer = BpeTokenizer::Create(std::move(spec));
  if (!tokenizer.ok()) return InFile(folder, tokenizer.status());
  return tokenizer;
}

Result LoadAny(const std::string& path) {
  if (IsFile(path)) return LoadGguf(path);
  const std::string json = JoinPath(path, "tokenizer.json");
  if (IsFile(json)) return LoadJson(json, path);
  const std::string gguf = JoinPath(path, "tokenizer.gguf");
  if (IsFile(gguf)) return LoadGguf(gguf);
  const std::string model = JoinPath(path, "tokenizer.model");
  if (IsFile(model)) return LoadSentencePiece(model, path);
  if (IsFile(JoinPath(path, "vocab.json")) &&
      IsFile(JoinPath(path, "merges.txt"))) {
    return LoadGpt2(path);
  }
  return absl::NotFoundError(
      absl::StrCat(path,
                   ": no tokenizer.json, tokenizer.gguf, tokenizer.model, or "
                   "vocab.json with merges.txt"));
}

// The ids that files name beside the vocabulary must be of it.
absl::Status CheckSpecialIds(const std::string& path,
                             const Tokenizer& tokenizer) {
  std::vector<TokenId> ids = tokenizer.eos_ids();
  if (tokenizer.bos_id().has_value()) ids.push_back(*tokenizer.bos_id());
  for (const TokenId id : ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": BOS or EOS has id ", id, " of a vocabulary of ",
                       tokenizer.vocab_size()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

Result Tokenizer::Load(absl::string_view path) {
  const std::string name(path);
  ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, LoadAny(name));
  RETURN_IF_ERROR(CheckSpecialIds(name, *tokenizer));
  return tokenizer;
}

}  // namespace anyprec
