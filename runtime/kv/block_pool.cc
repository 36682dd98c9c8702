#include "runtime/kv/block_pool.h"

#include "kernels/check.h"

namespace anyprec {

BlockPool::BlockPool(int num_blocks, int block_tokens)
    : block_tokens_(block_tokens), blocks_(num_blocks) {
  ANYPREC_CHECK(block_tokens > 0) << "block_tokens " << block_tokens;
  blank_.reserve(num_blocks);
  for (int block = num_blocks - 1; block >= 0; --block) blank_.push_back(block);
}

int32_t BlockPool::TakeFree() {
  if (!blank_.empty()) {
    const int32_t block = blank_.back();
    blank_.pop_back();
    return block;
  }
  const int32_t block = kept_free_.front();
  kept_free_.pop_front();
  if (on_reuse_) on_reuse_(block);
  blocks_[block].kept = false;
  return block;
}

bool BlockPool::Allocate(int count, std::vector<int32_t>& table) {
  if (count > num_free()) return false;
  for (int i = 0; i < count; ++i) {
    const int32_t block = TakeFree();
    blocks_[block].holders = 1;
    table.push_back(block);
  }
  return true;
}

void BlockPool::Hold(int32_t block) {
  Block& entry = blocks_.at(block);
  ANYPREC_CHECK(entry.holders > 0 || entry.kept)
      << "block " << block << " is neither held nor kept";
  if (entry.holders++ == 0) kept_free_.erase(entry.place);
}

void BlockPool::Free(std::span<const int32_t> blocks) {
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    ANYPREC_CHECK(*block >= 0 && *block < num_blocks() &&
                  blocks_[*block].holders > 0)
        << "block " << *block << " of " << num_blocks() << " is not held";
    Block& entry = blocks_[*block];
    if (--entry.holders > 0) continue;
    if (entry.kept) {
      entry.place = kept_free_.insert(kept_free_.end(), *block);
    } else {
      blank_.push_back(*block);
    }
  }
}

void BlockPool::Keep(int32_t block) {
  Block& entry = blocks_.at(block);
  ANYPREC_CHECK(entry.holders > 0) << "block " << block << " is not held";
  entry.kept = true;
}

}  // namespace anyprec
