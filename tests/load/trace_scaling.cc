#include "tests/load/trace_scaling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace anyprec::load {
namespace {

// Leaves room to add lengths; no model has such a context.
constexpr int kMaxTokens = std::numeric_limits<int>::max() / 2;

int ScaleLength(int tokens, double scale) {
  return static_cast<int>(
      std::min<double>(std::max(1.0, std::ceil(tokens * scale)), kMaxTokens));
}

int Capped(int tokens, int cap) {
  return cap > 0 ? std::min(tokens, cap) : tokens;
}

}  // namespace

bool ApplyCaps(const LengthCaps& caps, TraceEntry& entry) {
  const int prompt = entry.prompt_tokens;
  const int output = entry.output_tokens;
  entry.prompt_tokens = Capped(prompt, caps.prompt_tokens);
  entry.output_tokens = Capped(output, caps.output_tokens);
  if (caps.context_tokens > 0) {
    // One token of prompt must stay.
    entry.output_tokens =
        std::min(entry.output_tokens, std::max(1, caps.context_tokens - 1));
    entry.prompt_tokens =
        std::min(entry.prompt_tokens,
                 std::max(1, caps.context_tokens - entry.output_tokens));
  }
  const size_t blocks =
      (static_cast<size_t>(entry.prompt_tokens) + entry.hash_block_tokens - 1) /
      entry.hash_block_tokens;
  if (entry.hash_ids.size() > blocks) entry.hash_ids.resize(blocks);
  return entry.prompt_tokens != prompt || entry.output_tokens != output;
}

absl::StatusOr<std::vector<TraceEntry>> ScaleTrace(
    std::vector<TraceEntry> entries, const TraceScaling& scaling) {
  if (!(scaling.time_scale > 0) || !(scaling.length_scale > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "time scale is ", scaling.time_scale, " and length scale is ",
        scaling.length_scale, "; both must be above 0"));
  }
  const absl::Duration end = scaling.start + scaling.duration;
  std::erase_if(entries, [&](const TraceEntry& entry) {
    return entry.at.has_value() &&
           (*entry.at < scaling.start || *entry.at >= end);
  });
  if (entries.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the trace has no request in [", absl::FormatDuration(scaling.start),
        ", ", absl::FormatDuration(end), "); needs at least one"));
  }
  for (TraceEntry& entry : entries) {
    if (entry.at.has_value()) {
      entry.at = (*entry.at - scaling.start) * scaling.time_scale;
    }
    entry.prompt_tokens =
        ScaleLength(entry.prompt_tokens, scaling.length_scale);
    entry.output_tokens =
        ScaleLength(entry.output_tokens, scaling.length_scale);
    entry.hash_block_tokens =
        ScaleLength(entry.hash_block_tokens, scaling.length_scale);
  }
  return entries;
}

double MeanRate(const std::vector<TraceEntry>& entries) {
  if (entries.size() < 2) return 0;
  ANYPREC_CHECK(entries.front().at.has_value()) << "a trace without times";
  const absl::Duration span = *entries.back().at - *entries.front().at;
  if (span <= absl::ZeroDuration()) return 0;
  return static_cast<double>(entries.size() - 1) / absl::ToDoubleSeconds(span);
}

}  // namespace anyprec::load
