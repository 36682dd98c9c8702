// BlockPool: which blocks of the paged KV cache are free.
//
// Hands out block indices in [0, num_blocks); what the blocks hold is the
// backend's affair (KvStorage).
//
// Invariants:
//   1. every block is either free or held, never both;
//   2. num_free() + num_held() == num_blocks().
//
// Thread-compatible: the engine's thread alone uses it.
#ifndef ANYPREC_RUNTIME_KV_BLOCK_POOL_H_
#define ANYPREC_RUNTIME_KV_BLOCK_POOL_H_

#include <cstdint>
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

  // Appends `count` free blocks to `table`; returns false and changes nothing
  // where fewer are free.
  bool Allocate(int count, std::vector<int32_t>& table);

  // REQUIRES: every block is held, and listed once.
  void Free(std::span<const int32_t> blocks);

  // Blocks that `tokens` positions fill, the last one perhaps in part.
  int BlocksFor(int tokens) const {
    return (tokens + block_tokens_ - 1) / block_tokens_;
  }

  int num_blocks() const { return static_cast<int>(held_.size()); }
  int num_free() const { return static_cast<int>(free_.size()); }
  int num_held() const { return num_blocks() - num_free(); }
  int block_tokens() const { return block_tokens_; }

 private:
  const int block_tokens_;
  std::vector<int32_t> free_;  // a stack: the block freed last goes out first
  std::vector<bool> held_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_KV_BLOCK_POOL_H_
