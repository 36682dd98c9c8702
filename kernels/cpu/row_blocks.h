// RowBlocks: the rows of a product, cut into blocks that kernels take at a
// time.
#ifndef ANYPREC_KERNELS_CPU_ROW_BLOCKS_H_
#define ANYPREC_KERNELS_CPU_ROW_BLOCKS_H_

#include <algorithm>

namespace anyprec {

// Blocks of at most max_rows rows and of nearly equal size, the larger ones
// first: 15 rows are 8 + 7, not 14 + 1, whose single row would use a fourteenth
// of the multipliers.
class RowBlocks {
 public:
  // REQUIRES: both positive.
  RowBlocks(int rows, int max_rows)
      : rows_(rows), count_((rows + max_rows - 1) / max_rows) {}

  int count() const { return count_; }
  // Where `block`, up to count(), begins.
  int begin(int block) const {
    return rows_ / count_ * block + std::min(block, rows_ % count_);
  }
  int size(int block) const { return begin(block + 1) - begin(block); }

 private:
  int rows_;
  int count_;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_ROW_BLOCKS_H_
