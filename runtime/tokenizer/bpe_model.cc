#include "runtime/tokenizer/bpe_model.h"

#include <algorithm>
#include <functional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/byte_token.h"
#include "runtime/tokenizer/utf8.h"

namespace anyprec {
namespace {

using Alphabet = BpeModelSpec::Alphabet;

// Up to here a scan for the best pair costs less than a heap: words of prose
// have 1 to 15 bytes, and the ranks of one word fit two cache lines.
constexpr size_t kMaxScannedSymbols = 32;

uint64_t PairKey(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 |
         static_cast<uint32_t>(right);
}

}  // namespace

std::optional<std::pair<std::string, std::string>> SplitMerge(
    absl::string_view text) {
  const size_t space = text.find(' ');
  if (space == absl::string_view::npos ||
      text.find(' ', space + 1) != absl::string_view::npos) {
    return std::nullopt;
  }
  return std::pair(std::string(text.substr(0, space)),
                   std::string(text.substr(space + 1)));
}

absl::StatusOr<BpeModel> BpeModel::Create(const BpeModelSpec& spec) {
  BpeModel model;
  model.alphabet_ = spec.alphabet;
  model.fuse_unknown_ = spec.fuse_unknown;
  model.unknown_ = spec.unknown.value_or(-1);
  RETURN_IF_ERROR(model.AddSymbols(spec));
  RETURN_IF_ERROR(model.AddMerges(spec));
  return model;
}

absl::Status BpeModel::AddSymbols(const BpeModelSpec& spec) {
  const auto find = [&](absl::string_view text) {
    const auto found = spec.ids.find(text);
    return found == spec.ids.end() ? -1 : found->second;
  };
  bytes_.fill(-1);
  for (int byte = 0; byte < 256; ++byte) {
    if (alphabet_ == Alphabet::kBytes) {
      std::string text;
      AppendUtf8(ByteLevelChar(static_cast<uint8_t>(byte)), &text);
      bytes_[byte] = find(text);
    } else if (spec.byte_fallback) {
      bytes_[byte] = find(ByteTokenText(static_cast<uint8_t>(byte)));
    }
  }
  for (const auto& [text, id] : spec.ids) {
    if (text.empty()) continue;
    if (alphabet_ == Alphabet::kCharacters) {
      const Utf8Char c = FirstUtf8Char(text);
      if (c.kind == Utf8Char::Kind::kValid && c.length == text.size()) {
        characters_.emplace(c.code_point, id);
      }
    }
    if (!spec.ignore_merges) continue;
    if (alphabet_ == Alphabet::kCharacters) {
      words_.emplace(text, id);
    } else if (std::optional<std::string> bytes = DecodeByteLevel(text)) {
      words_.emplace(*std::move(bytes), id);
    }
  }
  return absl::OkStatus();
}

absl::Status BpeModel::AddMerges(const BpeModelSpec& spec) {
  merges_.reserve(spec.merges.size());
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    const auto& [left, right] = spec.merges[i];
    TokenId ids[3];
    const std::string* texts[3] = {&left, &right, nullptr};
    const std::string merged = left + right;
    texts[2] = &merged;
    for (int part = 0; part < 3; ++part) {
      const auto found = spec.ids.find(*texts[part]);
      if (found == spec.ids.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("merges[", i, "]: \"", *texts[part],
                         "\" is not in the vocabulary"));
      }
      ids[part] = found->second;
    }
    // Of a pair listed twice the later counts, as in HuggingFace's reader.
    merges_[PairKey(ids[0], ids[1])] = {static_cast<uint32_t>(i), ids[2]};
  }
  return absl::OkStatus();
}

BpeModel::Merge BpeModel::FindMerge(TokenId left, TokenId right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? Merge{} : found->second;
}

void BpeModel::Tokenize(absl::string_view word, Scratch& scratch,
                        std::vector<TokenId>* ids) const {
  if (!words_.empty()) {
    const auto found = words_.find(word);
    if (found != words_.end()) {
      ids->push_back(found->second);
      return;
    }
  }
  scratch.symbols_.clear();
  if (alphabet_ == Alphabet::kBytes) {
    SplitBytes(word, &scratch.symbols_);
  } else {
    SplitCharacters(word, &scratch.symbols_);
  }
  if (scratch.symbols_.size() <= kMaxScannedSymbols) {
    MergeShort(scratch, ids);
  } else {
    MergeLong(scratch, ids);
  }
}

void BpeModel::SplitBytes(absl::string_view word,
                          std::vector<TokenId>* symbols) const {
  bool after_unknown = false;
  for (const char c : word) {
    TokenId id = bytes_[static_cast<uint8_t>(c)];
    const bool unknown = id < 0;
    if (unknown) id = fuse_unknown_ && after_unknown ? -1 : unknown_;
    if (id >= 0) symbols->push_back(id);
    after_unknown = unknown;
  }
}

void BpeModel::SplitCharacters(absl::string_view word,
                               std::vector<TokenId>* symbols) const {
  bool after_unknown = false;
  while (!word.empty()) {
    const Utf8Char c = FirstUtf8Char(word);
    const absl::string_view character = word.substr(0, c.length);
    word.remove_prefix(c.length);
    const auto found = characters_.find(c.code_point);
    if (found != characters_.end()) {
      symbols->push_back(found->second);
      after_unknown = false;
    } else if (AppendFallback(character, symbols)) {
      after_unknown = false;
    } else {
      if (unknown_ >= 0 && !(fuse_unknown_ && after_unknown)) {
        symbols->push_back(unknown_);
      }
      after_unknown = true;
    }
  }
}

bool BpeModel::AppendFallback(absl::string_view character,
                              std::vector<TokenId>* symbols) const {
  const auto byte_id = [&](char c) { return bytes_[static_cast<uint8_t>(c)]; };
  for (const char c : character) {
    if (byte_id(c) < 0) return false;
  }
  for (const char c : character) symbols->push_back(byte_id(c));
  return true;
}

void BpeModel::MergeShort(Scratch& scratch, std::vector<TokenId>* ids) const {
  std::vector<TokenId>& symbols = scratch.symbols_;
  std::vector<uint32_t>& ranks = scratch.ranks_;  // of symbols i and i + 1
  ranks.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    ranks.push_back(FindMerge(symbols[i], symbols[i + 1]).rank);
  }
  while (!ranks.empty()) {
    const auto best = std::min_element(ranks.begin(), ranks.end());
    if (*best == kNoRank) break;
    const size_t i = static_cast<size_t>(best - ranks.begin());
    symbols[i] = FindMerge(symbols[i], symbols[i + 1]).id;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(i) + 1);
    ranks.erase(best);
    if (i > 0) ranks[i - 1] = FindMerge(symbols[i - 1], symbols[i]).rank;
    if (i < ranks.size()) {
      ranks[i] = FindMerge(symbols[i], symbols[i + 1]).rank;
    }
  }
  ids->insert(ids->end(), symbols.begin(), symbols.end());
}

// The heap holds rank << 32 | position of the left symbol, so that its minimum
// is the leftmost of the earliest merges. Entries are not taken out when a
// neighbour changes: one is stale where its pair no longer has its rank.
void BpeModel::MergeLong(Scratch& scratch, std::vector<TokenId>* ids) const {
  auto& nodes = scratch.nodes_;
  auto& heap = scratch.heap_;
  nodes.clear();
  heap.clear();
  const auto count = static_cast<int32_t>(scratch.symbols_.size());
  for (int32_t i = 0; i < count; ++i) {
    nodes.push_back({scratch.symbols_[i], i - 1, i + 1 < count ? i + 1 : -1});
  }
  for (int32_t i = 0; i + 1 < count; ++i) {
    const uint32_t rank = FindMerge(nodes[i].id, nodes[i + 1].id).rank;
    if (rank != kNoRank) heap.push_back(uint64_t{rank} << 32 | uint32_t(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint64_t entry = heap.back();
    heap.pop_back();
    const auto left = static_cast<int32_t>(entry & UINT32_MAX);
    const int32_t right = nodes[left].next;
    if (nodes[left].id < 0 || right < 0) continue;
    const Merge merge = FindMerge(nodes[left].id, nodes[right].id);
    if (merge.rank != entry >> 32) continue;

    nodes[left].id = merge.id;
    nodes[left].next = nodes[right].next;
    nodes[right].id = -1;  // No longer of the list.
    if (nodes[left].next >= 0) nodes[nodes[left].next].previous = left;
    if (nodes[left].previous >= 0) PushPair(scratch, nodes[left].previous);
    PushPair(scratch, left);
  }
  for (int32_t i = 0; i >= 0 && i < count; i = nodes[i].next) {
    ids->push_back(nodes[i].id);
  }
}

void BpeModel::PushPair(Scratch& scratch, int32_t left) const {
  const int32_t right = scratch.nodes_[left].next;
  if (right < 0) return;
  const uint32_t rank =
      FindMerge(scratch.nodes_[left].id, scratch.nodes_[right].id).rank;
  if (rank == kNoRank) return;
  scratch.heap_.push_back(uint64_t{rank} << 32 | static_cast<uint32_t>(left));
  std::push_heap(scratch.heap_.begin(), scratch.heap_.end(), std::greater<>());
}

}  // namespace anyprec
