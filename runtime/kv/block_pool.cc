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

void BlockPool::Hold(int32_t index) {
  Block& block = blocks_.at(index);
  ANYPREC_CHECK(block.holders > 0 || block.kept)
      << "block " << index << " is neither held nor kept";
  if (block.holders++ == 0) kept_free_.erase(block.place);
}

void BlockPool::Free(std::span<const int32_t> blocks) {
  for (auto index = blocks.rbegin(); index != blocks.rend(); ++index) {
    ANYPREC_CHECK(*index >= 0 && *index < num_blocks() &&
                  blocks_[*index].holders > 0)
        << "block " << *index << " of " << num_blocks() << " is not held";
    Block& block = blocks_[*index];
    if (--block.holders > 0) continue;
    if (block.kept) {
      block.place = kept_free_.insert(kept_free_.end(), *index);
    } else {
      blank_.push_back(*index);
    }
  }
}

void BlockPool::Keep(int32_t index) {
  Block& block = blocks_.at(index);
  ANYPREC_CHECK(block.holders > 0) << "block " << index << " is not held";
  block.kept = true;
}

}  // namespace anyprec
