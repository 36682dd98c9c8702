// Sequence: the mutable state of one request while the engine works on it.
//
// Invariants:
//   1. tokens = prompt, then what was generated; rows [0, computed) of it are
//      in the KV cache, in `blocks`;
//   2. row i < prompt_tokens is computed as Phase::kPrefill, every other as
//      Phase::kDecode, each at row_bits[i]. Preemption sets `computed` to 0 and
//      keeps row_bits, so that the recomputed rows are what they were, bit for
//      bit, and the text does not depend on who else was running;
//   3. the first `cached_blocks` of `blocks` are in the prefix cache;
//   4. `draft` follows `tokens` and is no part of them: rows of it may be in
//   the
//      KV cache from `computed` on, at draft_bits, until verification computes
//      them anew. It is empty where draft_goal is 0.
//
// A plain value; the engine's thread alone touches it.
#ifndef ANYPREC_RUNTIME_SCHEDULER_SEQUENCE_H_
#define ANYPREC_RUNTIME_SCHEDULER_SEQUENCE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "kernels/backend.h"
#include "kernels/sampling.h"
#include "runtime/scheduler/request.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

struct Sequence {
  // `min_bits` and `max_bits` are the request's, defaults resolved.
  Sequence(uint64_t id, Request request, int min_bits, int max_bits,
           absl::Time submitted)
      : id(id),
        request(std::move(request)),
        min_bits(min_bits),
        max_bits(max_bits),
        prompt_tokens(static_cast<int>(this->request.prompt.size())),
        submitted(submitted),
        tokens(this->request.prompt) {}

  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  int generated() const {
    return static_cast<int>(tokens.size()) - prompt_tokens;
  }
  int pending_rows() const {
    return static_cast<int>(tokens.size()) - computed;
  }
  TokenId TokenAt(int row) const {
    const int known = static_cast<int>(tokens.size());
    return row < known ? tokens[row] : draft[row - known];
  }
  Phase PhaseOf(int row) const {
    return row < prompt_tokens ? Phase::kPrefill : Phase::kDecode;
  }
  // Whether all that is pending is the row of the newest token of its answer.
  bool decodes() const {
    return pending_rows() == 1 && PhaseOf(computed) == Phase::kDecode;
  }
  // Rows in the KV cache; of one that waits, that it may find there.
  int rows_done() const { return blocks.empty() ? expected_rows : computed; }
  int rows_left() const {
    return static_cast<int>(tokens.size()) - rows_done();
  }
  // Whether row `computed` was computed before, and lost to preemption.
  bool recomputing() const {
    return computed < static_cast<int>(row_bits.size());
  }
  // Of the rows of its prompt that were computed, or found in the prefix cache.
  BitsHistogram PromptTokensByBits() const {
    BitsHistogram tokens = {};
    const size_t known =
        std::min(static_cast<size_t>(prompt_tokens), row_bits.size());
    for (size_t row = 0; row < known; ++row) ++tokens[row_bits[row]];
    return tokens;
  }

  const uint64_t id;  // ascending in order of submission
  const Request request;
  const int min_bits;
  const int max_bits;
  const int prompt_tokens;
  const absl::Time submitted;

  std::vector<TokenId> tokens;
  int computed = 0;
  std::vector<uint8_t> row_bits;
  std::vector<int32_t> blocks;
  int cached_blocks = 0;
  int current_bits = 0;  // of the newest row; 0 before the first
  int next_bits = 0;     // of new rows in the next step

  // What its tokens are drawn by, row and index apart, if nothing but tokens is
  // asked of the logits: drafts and scored prompts apart, the backend draws.
  std::optional<TokenDraw> draw;

  std::vector<TokenId> draft;  // not verified
  int draft_goal = 0;          // its length when it is; 0: none is wanted
  int draft_bits = 0;
  int draft_tokens = 0;           // that were verified
  int accepted_draft_tokens = 0;  // of them

  int cached_prompt_rows = 0;  // that the prefix cache had when it first ran
  int expected_rows = 0;       // that it may have when it runs next

  absl::Time first_scheduled = absl::InfinitePast();
  absl::Time first_token = absl::InfinitePast();
  absl::Time last_token = absl::InfinitePast();
  BitsHistogram tokens_by_bits = {};
  int last_token_bits = 0;
  int precision_changes = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_SEQUENCE_H_
