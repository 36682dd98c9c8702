#include "runtime/scheduler/prompt_pace.h"

#include <algorithm>
#include <cmath>

namespace anyprec {
namespace {

// Part of the time between two tokens that prompts get at least, however little
// answers leave: they are computed in the end, if late.
constexpr double kLeastPart = 0.02;

}  // namespace

PromptPace::PromptPace(const StepCostModel& costs, absl::Duration decode_step,
                       absl::Duration token_budget, int max_chunk_rows)
    : costs_(costs),
      left_(kHeadroom * token_budget - decode_step),
      least_(std::max(left_, kLeastPart * token_budget)),
      max_chunk_rows_(std::max(1, max_chunk_rows)) {}

bool PromptPace::ChunkFits(int bits) {
  const Chunk& chunk = ChunkOf(bits);
  return chunk.rows * chunk.row_time <= left_;
}

double PromptPace::DecodeSteps(absl::Duration time, double chunks) const {
  const double steps = std::ceil(chunks);
  if (least_ == absl::InfiniteDuration()) return steps;
  return std::max(steps, absl::FDivDuration(time, least_));
}

const PromptPace::Chunk& PromptPace::ChunkOf(int bits) {
  Chunk& chunk = chunks_.at(bits);
  if (chunk.rows > 0) return chunk;
  chunk.row_time = absl::InfiniteDuration();
  for (int rows = kLeastChunkRows;; rows += kLeastChunkRows) {
    rows = std::min(rows, max_chunk_rows_);
    const absl::Duration time = costs_.Predict({Phase::kPrefill, bits, rows});
    // A larger chunk takes longer. The least one is taken in any case.
    if (chunk.rows > 0 && time > left_) break;
    if (time / rows <= chunk.row_time) chunk = {rows, time / rows};
    if (rows == max_chunk_rows_) break;
  }
  return chunk;
}

}  // namespace anyprec
