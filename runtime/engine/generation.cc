#include "runtime/engine/generation.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace anyprec {

Generation::Generation(uint64_t id, Request request, BitsRange bits,
                       uint64_t seed, const ModelLimits& limits,
                       const Tokenizer* tokenizer, absl::Time now)
    : limits_(limits),
      sequence_(id, std::move(request), bits.min, bits.max, now),
      sampler_(sequence_.request.sampling, sequence_.request.top_logprobs,
               sequence_.request.prompt,
               sequence_.request.sampling.seed.value_or(seed)),
      stop_filter_(sequence_.request.stopping.stop),
      output_(std::make_shared<OutputQueue>()) {
  if (tokenizer != nullptr) {
    decoder_.emplace(tokenizer,
                     IncrementalDecoder::Options{.skip_special = true,
                                                 .at_text_start = false});
  }
}

std::optional<FinishReason> Generation::Interrupted(absl::Time now) const {
  // First the deadline: past it gRPC cancels the call as well.
  if (request().deadline <= now) return FinishReason::kDeadline;
  if (output_->cancelled()) return FinishReason::kCancelled;
  return std::nullopt;
}

TokenId Generation::TakeLogits(const SequenceStep& step,
                               std::span<const float> logits,
                               SamplerScratch& scratch) {
  const size_t vocab = limits_.vocab_size;
  if (request().prompt_logprobs && step.phase == Phase::kPrefill) {
    // The row of prompt token i gives the probability of token i + 1.
    const int first = step.position + step.rows - step.num_logits;
    for (int i = 0; i < step.num_logits; ++i) {
      if (first + i + 1 >= sequence_.prompt_tokens) break;
      absl::StatusOr<float> logprob =
          LogprobOf(logits.subspan(i * vocab, vocab),
                    sequence_.tokens[first + i + 1], scratch);
      if (!logprob.ok()) {
        failure_ = std::move(logprob).status();
        return 0;
      }
      chunk_.prompt_logprobs.push_back(*logprob);
    }
  }
  if (!step.samples) return 0;
  absl::StatusOr<TokenOutput> drawn =
      sampler_.Sample(logits.last(vocab), sequence_.generated(), scratch);
  if (!drawn.ok()) {
    failure_ = std::move(drawn).status();
    return 0;
  }
  drawn->bits = step.bits;
  chunk_.tokens.push_back(*std::move(drawn));
  return chunk_.tokens.back().token;
}

bool Generation::Deliver(const SequenceStep& step, absl::Time now) {
  if (!failure_.ok()) {
    Finish(FinishReason::kError, failure_, now);
    return true;
  }
  std::optional<FinishReason> reason;
  if (step.samples) {
    const TokenId token = chunk_.tokens.back().token;
    if (decoder_.has_value() && !IsStopToken(token)) {
      chunk_.text += stop_filter_.Append(decoder_->Append(token));
    }
    reason = ReasonToFinish(token, now);
  } else if (request().stopping.max_tokens == 0 &&
             sequence_.pending_rows() == 0) {
    reason = Interrupted(now).value_or(FinishReason::kLength);
  }
  if (reason.has_value()) {
    Finish(*reason, StatusOf(*reason), now);
    return true;
  }
  if (step.samples) output_->Push(std::exchange(chunk_, {}));
  return false;
}

bool Generation::IsStopToken(TokenId token) const {
  const StopCriteria& stopping = request().stopping;
  const auto among = [token](const std::vector<TokenId>& tokens) {
    return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
  };
  return among(stopping.stop_token_ids) ||
         (!stopping.ignore_eos && among(limits_.eos_ids));
}

// An interruption comes first: an expired request never ends as kLength.
std::optional<FinishReason> Generation::ReasonToFinish(TokenId token,
                                                       absl::Time now) const {
  if (const auto interrupted = Interrupted(now)) return interrupted;
  if (IsStopToken(token) || stop_filter_.matched()) return FinishReason::kStop;
  if (sequence_.generated() >= request().stopping.max_tokens) {
    return FinishReason::kLength;
  }
  return std::nullopt;
}

void Generation::Finish(FinishReason reason, absl::Status status,
                        absl::Time now) {
  if (decoder_.has_value() && !stop_filter_.matched()) {
    chunk_.text += stop_filter_.Append(decoder_->Finish());
    if (!stop_filter_.matched()) chunk_.text += stop_filter_.Flush();
  }
  chunk_.finish = {reason, std::move(status), Stats(now)};
}

void Generation::HandOutLast() { output_->Push(std::exchange(chunk_, {})); }

RequestStats Generation::Stats(absl::Time now) const {
  const Sequence& sequence = sequence_;
  RequestStats stats;
  stats.prompt_tokens = sequence.prompt_tokens;
  stats.cached_prompt_tokens = sequence.cached_prompt_rows;
  stats.completion_tokens = sequence.generated();
  stats.total = now - sequence.submitted;
  const bool scheduled = sequence.first_scheduled != absl::InfinitePast();
  stats.queue_time =
      scheduled ? sequence.first_scheduled - sequence.submitted : stats.total;
  if (sequence.generated() > 0) {
    stats.ttft = sequence.first_token - sequence.submitted;
  }
  if (sequence.generated() > 1) {
    stats.tpot = (sequence.last_token - sequence.first_token) /
                 (sequence.generated() - 1);
  }
  stats.tokens_by_bits = sequence.tokens_by_bits;
  stats.precision_changes = sequence.precision_changes;
  return stats;
}

absl::Status StatusOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
    case FinishReason::kLength:
      return absl::OkStatus();
    case FinishReason::kDeadline:
      return absl::DeadlineExceededError("the request's deadline has passed");
    case FinishReason::kCancelled:
      return absl::CancelledError("the request was cancelled");
    case FinishReason::kError:
      return absl::InternalError("the request failed");
  }
  return absl::InternalError("unknown finish reason");
}

}  // namespace anyprec
