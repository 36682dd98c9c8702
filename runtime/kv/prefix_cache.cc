#include "runtime/kv/prefix_cache.h"

#include <algorithm>
#include <array>

#include "absl/hash/hash.h"
#include "kernels/check.h"

namespace anyprec {

size_t PrefixCache::Hash::operator()(const PrefixKey& key) const {
  return absl::HashOf(
      key.previous, key.bits,
      absl::MakeConstSpan(key.tokens.data(), key.tokens.size()));
}

size_t PrefixCache::Hash::operator()(int32_t block) const {
  return (*this)(KeyOf((*entries)[block]));
}

bool PrefixCache::Equal::operator()(int32_t block, const PrefixKey& key) const {
  const Entry& entry = (*entries)[block];
  return entry.previous == key.previous && entry.bits == key.bits &&
         std::equal(entry.tokens.begin(), entry.tokens.end(),
                    key.tokens.begin(), key.tokens.end());
}

PrefixCache::PrefixCache(BlockPool& pool)
    : pool_(pool),
      entries_(pool.num_blocks()),
      index_(0, Hash{&entries_}, Equal{&entries_}) {
  pool_.OnReuse([this](int32_t block) { Forget(block); });
}

PrefixCache::~PrefixCache() { pool_.OnReuse(nullptr); }

std::optional<int32_t> PrefixCache::Find(const PrefixKey& key) const {
  const auto found = index_.find(key);
  if (found == index_.end()) return std::nullopt;
  return *found;
}

int32_t PrefixCache::Add(const PrefixKey& key, int32_t block) {
  if (const std::optional<int32_t> known = Find(key)) {
    pool_.Hold(*known);
    pool_.Free(std::array{block});
    return *known;
  }
  Entry& entry = entries_[block];
  ANYPREC_CHECK(entry.tokens.empty()) << "block " << block << " is here";
  ANYPREC_CHECK(static_cast<int>(key.tokens.size()) == pool_.block_tokens())
      << key.tokens.size() << " tokens";
  if (key.previous >= 0) {
    ANYPREC_CHECK(!entries_[key.previous].tokens.empty())
        << "block " << key.previous << " is not here";
    ++entries_[key.previous].next_blocks;
  }
  entry.previous = key.previous;
  entry.bits = key.bits;
  entry.tokens.assign(key.tokens.begin(), key.tokens.end());
  index_.insert(block);
  pool_.Keep(block);
  return block;
}

void PrefixCache::Forget(int32_t block) {
  Entry& entry = entries_[block];
  ANYPREC_CHECK(entry.next_blocks == 0)
      << "block " << block << " goes before " << entry.next_blocks
      << " that follow it";
  index_.erase(block);
  if (entry.previous >= 0) --entries_[entry.previous].next_blocks;
  entry.tokens.clear();
}

}  // namespace anyprec
