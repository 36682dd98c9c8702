#include "tests/load/workload.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/check.h"

namespace anyprec::load {
namespace {

// Makes streams of one seed differ; any odd constant would do.
constexpr uint64_t kStream = 0x9e3779b97f4a7c15;

}  // namespace

absl::StatusOr<IntRange> ParseIntRange(absl::string_view name,
                                       absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('-', 1));
  IntRange range;
  const bool single = parts.first.size() == text.size();
  if (absl::SimpleAtoi(parts.first, &range.low) &&
      absl::SimpleAtoi(single ? parts.first : parts.second, &range.high) &&
      range.low >= 1 && range.high >= range.low) {
    return range;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is \"", text,
                   "\"; must be a number of at least 1, or two ascending ones "
                   "such as 16-512"));
}

RequestPlanner::RequestPlanner(std::vector<RequestClass> classes,
                               LengthSource lengths, uint64_t seed)
    : classes_(std::move(classes)),
      lengths_(std::move(lengths)),
      class_random_(seed + kStream),
      length_random_(seed + 2 * kStream),
      cancel_random_(seed + 3 * kStream),
      prompt_random_(seed + 4 * kStream) {
  ANYPREC_CHECK(!classes_.empty()) << "no request classes";
  for (const RequestClass& one : classes_) total_share_ += one.share;
}

int RequestPlanner::DrawClass() {
  double left = class_random_.Uniform() * total_share_;
  const int last = static_cast<int>(classes_.size()) - 1;
  for (int i = 0; i < last; ++i) {
    left -= classes_[i].share;
    if (left < 0) return i;
  }
  return last;
}

TraceEntry RequestPlanner::DrawLengths() {
  if (!lengths_.entries.empty()) {
    const int64_t last = static_cast<int64_t>(lengths_.entries.size()) - 1;
    return lengths_.entries[length_random_.Integer(0, last)];
  }
  TraceEntry entry;
  entry.prompt_tokens = static_cast<int>(length_random_.Integer(
      lengths_.prompt_tokens.low, lengths_.prompt_tokens.high));
  entry.output_tokens = static_cast<int>(length_random_.Integer(
      lengths_.output_tokens.low, lengths_.output_tokens.high));
  return entry;
}

PlannedRequest RequestPlanner::Next(absl::Duration at) {
  return Next(at, DrawLengths());
}

PlannedRequest RequestPlanner::Next(absl::Duration at, TraceEntry entry) {
  if (ApplyCaps(lengths_.caps, entry)) ++capped_;
  PlannedRequest request;
  request.at = at;
  request.prompt_tokens = entry.prompt_tokens;
  request.output_tokens = entry.output_tokens;
  request.hash_ids = std::move(entry.hash_ids);
  request.hash_block_tokens = entry.hash_block_tokens;
  request.class_index = DrawClass();
  request.seed = prompt_random_.Bits();
  // Both are drawn for every request: the next one's do not depend on this one.
  const RequestClass& one = classes_[request.class_index];
  const bool cancels = cancel_random_.Uniform() < one.cancel_rate;
  const double after = cancel_random_.Uniform();
  if (cancels) {
    request.cancel_after = absl::Milliseconds(
        one.cancel_after_ms_low +
        after * (one.cancel_after_ms_high - one.cancel_after_ms_low));
  }
  return request;
}

std::vector<PlannedRequest> PlanWorkload(
    std::span<const absl::Duration> arrivals, RequestPlanner& planner) {
  std::vector<PlannedRequest> plan;
  plan.reserve(arrivals.size());
  for (const absl::Duration at : arrivals) plan.push_back(planner.Next(at));
  return plan;
}

std::vector<PlannedRequest> PlanReplay(std::span<const TraceEntry> entries,
                                       absl::Duration end,
                                       RequestPlanner& planner) {
  std::vector<PlannedRequest> plan;
  for (const TraceEntry& entry : entries) {
    ANYPREC_CHECK(entry.at.has_value()) << "a trace without times";
    if (*entry.at >= end) break;
    plan.push_back(planner.Next(*entry.at, entry));
  }
  return plan;
}

}  // namespace anyprec::load
