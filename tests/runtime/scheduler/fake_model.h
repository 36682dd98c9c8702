// A model without tensors, for tests of what surrounds one.
//
// The "keys and values" of a row are one number: a hash of its token, position,
// phase and precision and of the row before it, read from and written to paged
// blocks through the plan's block tables. A number therefore depends on the
// whole history of its sequence, as a real model's output does, and comes out
// wrong if a block is shared, lost or stale, or if a row is recomputed
// otherwise than it was.
#ifndef ANYPREC_TESTS_RUNTIME_SCHEDULER_FAKE_MODEL_H_
#define ANYPREC_TESTS_RUNTIME_SCHEDULER_FAKE_MODEL_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "runtime/scheduler/step_plan.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

class FakeModel {
 public:
  FakeModel(int num_blocks, int block_tokens)
      : block_tokens_(block_tokens),
        rows_(static_cast<size_t>(num_blocks) * block_tokens) {}

  // One hash for each row of plan.logit_rows, then of plan.draws.
  std::vector<uint64_t> Execute(const StepPlan& plan) {
    std::vector<uint64_t> hashes(plan.tokens.size());
    for (const SequenceRows& rows : plan.sequences) {
      for (int i = 0; i < rows.rows; ++i) {
        const int row = rows.first_row + i;
        const int position = rows.position + i;
        const RowGroup& group = GroupOf(plan, row);
        const uint64_t before =
            position == 0 ? 0 : At(rows.blocks, position - 1);
        hashes[row] = RowHash(before, plan.tokens[row], position, group.phase,
                              group.precision);
        At(rows.blocks, position) = hashes[row];
      }
    }
    std::vector<uint64_t> wanted;
    for (const int row : plan.logit_rows) wanted.push_back(hashes[row]);
    for (const TokenDraw& draw : plan.draws) {
      wanted.push_back(hashes[draw.row]);
    }
    return wanted;
  }

  static uint64_t RowHash(uint64_t before, TokenId token, int position,
                          Phase phase, int bits) {
    uint64_t hash = before;
    for (const uint64_t part :
         {static_cast<uint64_t>(token), static_cast<uint64_t>(position),
          static_cast<uint64_t>(phase), static_cast<uint64_t>(bits)}) {
      hash = Mix(hash ^ (part + 0x9e3779b97f4a7c15));
    }
    return hash;
  }

  static uint64_t Mix(uint64_t x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccd;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53;
    return x ^ (x >> 33);
  }

 private:
  static const RowGroup& GroupOf(const StepPlan& plan, int row) {
    for (const RowGroup& group : plan.groups) {
      if (group.begin <= row && row < group.end) return group;
    }
    return plan.groups.at(plan.groups.size());  // throws: a row in no group
  }

  uint64_t& At(std::span<const int32_t> blocks, int position) {
    return rows_.at(static_cast<size_t>(blocks[position / block_tokens_]) *
                        block_tokens_ +
                    position % block_tokens_);
  }

  const int block_tokens_;
  std::vector<uint64_t> rows_;
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_SCHEDULER_FAKE_MODEL_H_
