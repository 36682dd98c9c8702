// BlockPool: who holds which blocks of the paged KV cache.
//
// Hands out block indices in [0, num_blocks); what the blocks hold is the
// backend's affair (KvStorage). A block may have several holders. One that
// nobody holds is free; if it was marked with Keep(), what it holds stays
// there, to be held again, until Allocate() needs it for something else: the
// one given up longest ago first, and only where no other block is free.
//
// Invariant: num_free() + num_held() == num_blocks().
//
// Thread-compatible: the engine's thread alone uses it.
#ifndef ANYPREC_RUNTIME_KV_BLOCK_POOL_H_
#define ANYPREC_RUNTIME_KV_BLOCK_POOL_H_

#include <cstdint>
#include <functional>
#include <list>
#include <span>
#include <vector>

namespace anyprec {

class BlockPool {
 public:
  // A block holds `block_tokens` consecutive positions of one sequence.
  // REQUIRES: num_blocks >= 0, block_tokens > 0.
  BlockPool(int num_blocks, int block_tokens);

  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // Appends `count` free blocks to `table`, each with one holder; returns false
  // and changes nothing where fewer are free.
  bool Allocate(int count, std::vector<int32_t>& table);

  // One more holder of a block that is held, or free and kept.
  void Hold(int32_t block);

  // One holder less of each, the last block first: of a kept prefix the end is
  // used again before its beginning. REQUIRES: every block is held.
  void Free(std::span<const int32_t> blocks);

  // What a held block holds shall outlive its holders.
  void Keep(int32_t block);

  // Told of each kept block before Allocate() hands it out anew, which is then
  // kept no more. At most one listener, which must outlive the last Allocate().
  void OnReuse(std::function<void(int32_t)> listener) {
    on_reuse_ = std::move(listener);
  }

  // Blocks that `tokens` positions fill, the last one perhaps in part.
  int BlocksFor(int tokens) const {
    return (tokens + block_tokens_ - 1) / block_tokens_;
  }

  int num_blocks() const { return static_cast<int>(blocks_.size()); }
  int num_free() const {
    return static_cast<int>(blank_.size() + kept_free_.size());
  }
  int num_held() const { return num_blocks() - num_free(); }
  int block_tokens() const { return block_tokens_; }

 private:
  struct Block {
    int holders = 0;
    bool kept = false;
    std::list<int32_t>::iterator place;  // in kept_free_, where it is there
  };

  int32_t TakeFree();

  const int block_tokens_;
  std::vector<Block> blocks_;
  std::vector<int32_t> blank_;  // free, not kept; a stack: memory touched last
                                // goes out first
  std::list<int32_t> kept_free_;  // free and kept; given up longest ago first
  std::function<void(int32_t)> on_reuse_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_KV_BLOCK_POOL_H_
