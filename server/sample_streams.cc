#include "server/sample_streams.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace anyprec {

absl::StatusOr<std::unique_ptr<SampleStreams>> SampleStreams::Submit(
    const Request& request, int n, Engine& engine) {
  ANYPREC_CHECK(request.sampling.seed.has_value());
  std::unique_ptr<SampleStreams> streams(new SampleStreams);
  for (int i = 0; i < n; ++i) {
    Request sample = request;
    if (n > 1) absl::StrAppend(&sample.id, ".", i);
    *sample.sampling.seed += static_cast<uint64_t>(i);
    // The prompt's are told once, with the first sample. (Without an answer
    // they are all that is asked for.)
    if (i > 0 && sample.stopping.max_tokens > 0) sample.prompt_logprobs = false;
    ASSIGN_OR_RETURN(auto stream, engine.Submit(std::move(sample)));
    streams->samples_.push_back({std::move(stream)});
  }
  streams->open_ = n;
  return streams;
}

void SampleStreams::OnReady(const std::function<void()>& ready) {
  for (Sample& sample : samples_) sample.stream->OnReady(ready);
}

std::optional<SampleStreams::Output> SampleStreams::TryNext() {
  for (size_t tried = 0; tried < samples_.size(); ++tried) {
    const size_t i = next_;
    next_ = (next_ + 1) % samples_.size();
    Sample& sample = samples_[i];
    if (sample.ended) continue;
    std::optional<Chunk> chunk = sample.stream->TryNext();
    if (!chunk.has_value()) continue;
    if (chunk->finish.has_value()) {
      sample.ended = true;
      --open_;
      Note(*chunk->finish);
    }
    const bool first = !std::exchange(sample.started, true);
    return Output{static_cast<int>(i), first, *std::move(chunk)};
  }
  return std::nullopt;
}

void SampleStreams::Cancel() {
  cancelled_ = true;
  for (Sample& sample : samples_) sample.stream->Cancel();
}

void SampleStreams::Note(const Finish& finish) {
  finishes_.push_back(finish);
  const RequestStats& stats = finish.stats;
  stats_.prompt_tokens = stats.prompt_tokens;
  stats_.cached_prompt_tokens = stats.cached_prompt_tokens;
  stats_.prompt_tokens_by_bits = stats.prompt_tokens_by_bits;
  stats_.completion_tokens += stats.completion_tokens;
  stats_.queue_time = std::max(stats_.queue_time, stats.queue_time);
  stats_.ttft = std::max(stats_.ttft, stats.ttft);
  stats_.tpot = std::max(stats_.tpot, stats.tpot);
  stats_.total = std::max(stats_.total, stats.total);
  for (size_t bits = 0; bits < stats.tokens_by_bits.size(); ++bits) {
    stats_.tokens_by_bits[bits] += stats.tokens_by_bits[bits];
  }
  stats_.precision_changes += stats.precision_changes;
  stats_.draft_tokens += stats.draft_tokens;
  stats_.accepted_draft_tokens += stats.accepted_draft_tokens;
  if (!status_.ok() || finish.status.ok()) return;
  status_ = finish.status;
  if (finish.reason == FinishReason::kCancelled && !cancelled_) {
    // Not the client's doing: only a drain that ran out of time cancels.
    status_ = absl::UnavailableError("the server is shutting down");
  }
}

}  // namespace anyprec
