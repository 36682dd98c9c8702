// PrefixCache: blocks of prompts that later prompts may begin with.
//
// A row of the KV cache depends on its token, on all the tokens before it, and
// on the precision at which each of them was computed. A block of it is
// therefore known by its tokens, its precision and the block before it, and
// compared with exactly these: no hash stands in for them.
//
// Only whole blocks are here, of one precision, and of rows computed as a
// prompt's (Phase::kPrefill), whose values do not depend on how the prompt was
// cut into chunks: what is found is, bit for bit, what would be computed.
//
// Invariant: a block is here only as long as the block before it is. Whoever
// holds a block holds those before it too, and BlockPool gives the end of a
// prefix away before its beginning.
//
// Borrows the pool, as its one listener. Thread-compatible.
#ifndef ANYPREC_RUNTIME_KV_PREFIX_CACHE_H_
#define ANYPREC_RUNTIME_KV_PREFIX_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "runtime/kv/block_pool.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

// What a cached block is known by.
struct PrefixKey {
  int32_t previous = -1;  // the block before it; -1: it begins the prompt
  int bits = 0;
  std::span<const TokenId> tokens;  // [block_tokens]
};

class PrefixCache {
 public:
  explicit PrefixCache(BlockPool& pool);
  ~PrefixCache();

  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  std::optional<int32_t> Find(const PrefixKey& key) const;

  // Remembers what `block` holds. Returns the block that is known by `key` from
  // now on: `block`, or another that was there before, which then has one
  // holder more, and `block` one less. REQUIRES: `block` is held, and is not
  // here; key.previous is here, or -1.
  int32_t Add(const PrefixKey& key, int32_t block);

  int num_blocks() const { return static_cast<int>(index_.size()); }

 private:
  struct Entry {
    int32_t previous = -1;
    int bits = 0;
    std::vector<TokenId> tokens;
    int next_blocks = 0;  // entries whose `previous` is this one
  };

  // Blocks stand in the index for what their entries say.
  struct Hash {
    using is_transparent = void;
    const std::vector<Entry>* entries;
    size_t operator()(const PrefixKey& key) const;
    size_t operator()(int32_t block) const;
  };
  struct Equal {
    using is_transparent = void;
    const std::vector<Entry>* entries;
    bool operator()(int32_t a, int32_t b) const { return a == b; }
    bool operator()(int32_t block, const PrefixKey& key) const;
    bool operator()(const PrefixKey& key, int32_t block) const {
      return (*this)(block, key);
    }
  };

  static PrefixKey KeyOf(const Entry& entry) {
    return {entry.previous, entry.bits, entry.tokens};
  }
  void Forget(int32_t block);

  BlockPool& pool_;
  std::vector<Entry> entries_;  // by block; those in index_ have tokens
  absl::flat_hash_set<int32_t, Hash, Equal> index_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_KV_PREFIX_CACHE_H_
