// PromptPace: how fast prompts are computed beside answers that run.
//
// Prompts are computed in chunks, one in each step, and share the step with the
// rows of running answers. Where those want their tokens at a certain pace,
// chunks shrink to fit between two of them. What a row costs depends on the
// chunk: few rows share what a step costs whatever their number, and a kernel
// for many rows may begin with work that one for few does not have.
#ifndef ANYPREC_RUNTIME_SCHEDULER_PROMPT_PACE_H_
#define ANYPREC_RUNTIME_SCHEDULER_PROMPT_PACE_H_

#include <array>
#include <tuple>

#include "absl/time/time.h"
#include "runtime/scheduler/request.h"
#include "runtime/scheduler/step_cost_model.h"

namespace anyprec {

// Part of a time asked for that predictions may fill.
inline constexpr double kHeadroom = 0.95;

// A chunk is not cut below this: what a step costs whatever its rows would make
// up most of it.
inline constexpr int kLeastChunkRows = 32;

// Thread-compatible.
class PromptPace {
 public:
  // Beside decode rows that take `decode_step`, of answers that allow
  // `token_budget` between two tokens, in chunks of at most `max_chunk_rows`.
  // Borrows `costs`.
  PromptPace(const StepCostModel& costs, absl::Duration decode_step,
             absl::Duration token_budget, int max_chunk_rows);

  // Of the chunks with which a step keeps the budget, in steps of
  // kLeastChunkRows, the one whose rows cost least; at least these, or
  // max_chunk_rows.
  int ChunkRows(int bits) { return ChunkOf(bits).rows; }

  // Whether a step with that chunk keeps the budget; the least one may not.
  bool ChunkFits(int bits);

  // Decode steps that pass while prompts of `chunks` such chunks are computed,
  // which take `time` by themselves: one with each chunk, or more where a chunk
  // does not fit between two tokens and answers get ahead of their pace first.
  // REQUIRES: the token budget is above zero.
  double DecodeSteps(absl::Duration time, double chunks) const;

  // What a row of such a chunk takes, the decode rows of its step left out.
  // Zero where the costs are not known.
  absl::Duration RowTime(int bits) { return ChunkOf(bits).row_time; }

 private:
  struct Chunk {
    int rows = 0;  // 0: not yet computed
    absl::Duration row_time;
  };

  const Chunk& ChunkOf(int bits);

  const StepCostModel& costs_;
  const absl::Duration left_;   // of a step, for its chunk
  const absl::Duration least_;  // that is taken to be left in the long run
  const int max_chunk_rows_;
  std::array<Chunk, std::tuple_size_v<BitsHistogram>> chunks_ = {};
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_PROMPT_PACE_H_
