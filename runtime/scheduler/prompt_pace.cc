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

bool PromptPace::Fits(int bits, int rows) const {
  return costs_.Predict({Phase::kPrefill, bits, rows}) <= left_;
}

double PromptPace::DecodeSteps(absl::Duration time, double chunks) const {
  const double steps = std::ceil(chunks);
  if (least_ == absl::InfiniteDuration()) return steps;
  return std::max(steps, absl::FDivDuration(time, least_));
}

const PromptPace::Chunk& PromptPace::ChunkOf(int bits) {
  Chunk& chunk = chunks_.at(bits);
  if (chunk.rows > 0) return chunk;
  chunk.rows = max_chunk_rows_;
  if (left_ != absl::InfiniteDuration() && !Fits(bits, max_chunk_rows_)) {
    // A larger chunk takes longer. `low` fits, or is the least; `high` fits
    // not.
    int low = 1;
    int high = (max_chunk_rows_ + kLeastChunkRows - 1) / kLeastChunkRows;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (Fits(bits, middle * kLeastChunkRows) ? low : high) = middle;
    }
    chunk.rows = std::min(low * kLeastChunkRows, max_chunk_rows_);
  }
  chunk.row_time =
      costs_.Predict({Phase::kPrefill, bits, chunk.rows}) / chunk.rows;
  return chunk;
}

}  // namespace anyprec
