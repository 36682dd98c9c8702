#include "runtime/kv/block_pool.h"

#include "kernels/check.h"

namespace anyprec {

BlockPool::BlockPool(int num_blocks, int block_tokens)
    : block_tokens_(block_tokens), held_(num_blocks, false) {
  ANYPREC_CHECK(block_tokens > 0) << "block_tokens " << block_tokens;
  free_.reserve(num_blocks);
  for (int block = num_blocks - 1; block >= 0; --block) free_.push_back(block);
}

bool BlockPool::Allocate(int count, std::vector<int32_t>& table) {
  if (count > num_free()) return false;
  for (int i = 0; i < count; ++i) {
    const int32_t block = free_.back();
    free_.pop_back();
    held_[block] = true;
    table.push_back(block);
  }
  return true;
}

void BlockPool::Free(std::span<const int32_t> blocks) {
  for (const int32_t block : blocks) {
    ANYPREC_CHECK(block >= 0 && block < num_blocks() && held_[block])
        << "block " << block << " of " << num_blocks() << " is not held";
    held_[block] = false;
    free_.push_back(block);
  }
}

}  // namespace anyprec
