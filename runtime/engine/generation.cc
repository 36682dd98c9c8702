#include "runtime/engine/generation.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/status_macros.h"

namespace anyprec {

Generation::Generation(uint64_t id, Request request, BitsRange bits,
                       uint64_t seed, const ModelLimits& limits,
                       const Tokenizer* tokenizer, absl::Time now)
    : limits_(limits),
      sequence_(id, std::move(request), bits.min, bits.max, now),
      sampler_(sequence_.request.sampling, sequence_.request.top_logprobs,
               sequence_.request.prompt,
               sequence_.request.sampling.seed.value_or(seed)),
      speculative_sampler_(sampler_),
      stop_filter_(sequence_.request.stopping.stop),
      output_(std::make_shared<OutputQueue>()) {
  if (sampler_.OnlyDraws()) sequence_.draw = sampler_.DrawOf(0);
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

NewTokens Generation::TakeLogits(const SequenceStep& step,
                                 std::span<const float> logits,
                                 SamplerScratch& scratch) {
  NewTokens tokens;
  failure_ = TryTakeLogits(step, logits, scratch, tokens);
  // The scheduler wants one whatever becomes of it.
  if (!failure_.ok()) tokens.assign(1, 0);
  return tokens;
}

NewTokens Generation::TakeDrawn(const SequenceStep& step, TokenId token) {
  NewTokens tokens;
  if (token == kNotFinite) {
    failure_ = LogitsNotFinite();
    tokens.assign(1, 0);
    return tokens;
  }
  TokenOutput output;
  output.token = token;
  Accept(std::move(output), step, tokens);
  return tokens;
}

absl::Status Generation::TryTakeLogits(const SequenceStep& step,
                                       std::span<const float> logits,
                                       SamplerScratch& scratch,
                                       NewTokens& tokens) {
  if (request().prompt_logprobs && step.phase == Phase::kPrefill) {
    RETURN_IF_ERROR(ScorePrompt(step, logits, scratch));
  }
  if (!step.samples) return absl::OkStatus();
  const int index = sequence_.generated();
  if (step.drafts) {
    ASSIGN_OR_RETURN(
        const TokenId draft,
        speculative_sampler_.Draft(logits, index, sequence_.draft, scratch));
    tokens.push_back(draft);
    return absl::OkStatus();
  }
  std::vector<TokenOutput> drawn;
  if (step.num_drafts > 0) {
    ASSIGN_OR_RETURN(drawn, speculative_sampler_.Verify(
                                logits, index, sequence_.draft, scratch));
  } else {
    ASSIGN_OR_RETURN(
        TokenOutput token,
        sampler_.Sample(logits.last(limits_.vocab_size), index, scratch));
    drawn.push_back(std::move(token));
  }
  for (TokenOutput& output : drawn) {
    Accept(std::move(output), step, tokens);
    if (end_.has_value()) break;  // what was accepted beyond is not wanted
  }
  return absl::OkStatus();
}

// Adds a token of the answer, which may end with it.
void Generation::Accept(TokenOutput output, const SequenceStep& step,
                        NewTokens& tokens) {
  output.bits = step.bits;
  tokens.push_back(output.token);
  chunk_.tokens.push_back(std::move(output));
  end_ = TakeToken(tokens.back(),
                   sequence_.generated() + static_cast<int>(tokens.size()));
}

// The row of prompt token i gives the probability of token i + 1.
absl::Status Generation::ScorePrompt(const SequenceStep& step,
                                     std::span<const float> logits,
                                     SamplerScratch& scratch) {
  const size_t vocab = limits_.vocab_size;
  const int first = step.position + step.rows - step.num_logits;
  for (int i = 0; i < step.num_logits; ++i) {
    if (first + i + 1 >= sequence_.prompt_tokens) break;
    ASSIGN_OR_RETURN(const float logprob,
                     LogprobOf(logits.subspan(i * vocab, vocab),
                               sequence_.tokens[first + i + 1], scratch));
    chunk_.prompt_logprobs.push_back(logprob);
  }
  return absl::OkStatus();
}

// Adds the text of token number `count` of the answer. Returns why the answer
// ends with it, if it does.
std::optional<FinishReason> Generation::TakeToken(TokenId token, int count) {
  const bool stops = IsStopToken(token);
  if (decoder_.has_value() && !stops) {
    chunk_.text += stop_filter_.Append(decoder_->Append(token));
  }
  if (stops || stop_filter_.matched()) return FinishReason::kStop;
  if (count >= request().stopping.max_tokens) return FinishReason::kLength;
  return std::nullopt;
}

bool Generation::Deliver(const SequenceStep& step, absl::Time now) {
  if (!failure_.ok()) {
    Finish(FinishReason::kError, failure_, now);
    return true;
  }
  if (step.drafts) return false;
  std::optional<FinishReason> reason = end_;
  if (request().stopping.max_tokens == 0 && sequence_.pending_rows() == 0) {
    reason = FinishReason::kLength;
  }
  if (step.samples || reason.has_value()) {
    // An interruption comes first: an expired request never ends as kLength.
    const std::optional<FinishReason> interrupted = Interrupted(now);
    if (interrupted.has_value()) reason = interrupted;
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
  stats.prompt_tokens_by_bits = sequence.PromptTokensByBits();
  stats.draft_tokens = sequence.draft_tokens;
  stats.accepted_draft_tokens = sequence.accepted_draft_tokens;
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
