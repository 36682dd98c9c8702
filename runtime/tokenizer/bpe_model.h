// Byte-pair encoding (Sennrich et al., 2016, arXiv:1508.07909): a word starts
// as its smallest symbols, and the adjacent pair that training merged earliest
// is merged until no known pair is left.
//
// n symbols take O(n log n), whatever the text: sentencepiece-style
// vocabularies have no word boundaries, so that a whole document is one word.
//
// Immutable; safe to use from any thread, each with its own Scratch.
#ifndef ANYPREC_RUNTIME_TOKENIZER_BPE_MODEL_H_
#define ANYPREC_RUNTIME_TOKENIZER_BPE_MODEL_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

// A model as files describe it. Texts are the file's: of a byte-level model, in
// the alphabet of byte_level.h.
struct BpeModelSpec {
  // What a word is cut into before merging.
  enum class Alphabet {
    kBytes,       // GPT-2, Llama 3: every byte is a symbol
    kCharacters,  // Llama 2: every Unicode character
  };

  Alphabet alphabet = Alphabet::kBytes;
  absl::flat_hash_map<std::string, TokenId> ids;
  std::vector<std::pair<std::string, std::string>> merges;  // earliest first

  // Of a character without a token: its UTF-8 bytes as tokens "<0xE2>" each,
  // where all of them exist; otherwise `unknown`, once for a run of such
  // characters if fuse_unknown; otherwise nothing.
  bool byte_fallback = false;
  bool fuse_unknown = false;
  std::optional<TokenId> unknown;

  // A word that is a token is that token, though merges may not lead to it.
  bool ignore_merges = false;
};

// "left right", as files write a merge; nullopt where there is not just one
// space.
std::optional<std::pair<std::string, std::string>> SplitMerge(
    absl::string_view text);

class BpeModel {
 public:
  // Working memory of Tokenize, to be used again for the next word.
  class Scratch {
   private:
    friend class BpeModel;
    struct Node {  // a symbol of a long word, in a doubly linked list
      TokenId id;
      int32_t previous;
      int32_t next;
    };
    std::vector<TokenId> symbols_;
    std::vector<uint32_t> ranks_;
    std::vector<Node> nodes_;
    std::vector<uint64_t> heap_;
  };

  // INVALID_ARGUMENT where a merge's parts or result are no tokens.
  static absl::StatusOr<BpeModel> Create(const BpeModelSpec& spec);

  // Appends the tokens of `word`.
  // REQUIRES: valid UTF-8 where the alphabet is kCharacters; below 2^31 bytes.
  void Tokenize(absl::string_view word, Scratch& scratch,
                std::vector<TokenId>* ids) const;

 private:
  struct Merge {
    uint32_t rank = kNoRank;  // position in the list of merges
    TokenId id = -1;          // what the pair becomes
  };
  static constexpr uint32_t kNoRank = UINT32_MAX;

  BpeModel() = default;
  absl::Status AddSymbols(const BpeModelSpec& spec);
  absl::Status AddMerges(const BpeModelSpec& spec);

  Merge FindMerge(TokenId left, TokenId right) const;
  void SplitBytes(absl::string_view word, std::vector<TokenId>* symbols) const;
  void SplitCharacters(absl::string_view word,
                       std::vector<TokenId>* symbols) const;
  bool AppendFallback(absl::string_view character,
                      std::vector<TokenId>* symbols) const;
  void MergeShort(Scratch& scratch, std::vector<TokenId>* ids) const;
  void MergeLong(Scratch& scratch, std::vector<TokenId>* ids) const;
  void PushPair(Scratch& scratch, int32_t left) const;

  BpeModelSpec::Alphabet alphabet_ = BpeModelSpec::Alphabet::kBytes;
  bool fuse_unknown_ = false;
  TokenId unknown_ = -1;
  std::array<TokenId, 256> bytes_{};  // -1: no such token
  absl::flat_hash_map<char32_t, TokenId> characters_;
  absl::flat_hash_map<std::string, TokenId> words_;  // if ignore_merges
  // Key: left id << 32 | right id.
  absl::flat_hash_map<uint64_t, Merge> merges_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_BPE_MODEL_H_
