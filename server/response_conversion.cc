#include "server/response_conversion.h"

#include <cmath>
#include <cstddef>

#include "absl/time/time.h"
#include "kernels/check.h"

namespace anyprec {
namespace {

v1::FinishReason ToFinishReason(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case FinishReason::kDeadline:
      return v1::FINISH_REASON_DEADLINE;
    case FinishReason::kCancelled:
      return v1::FINISH_REASON_CANCELLED;
    case FinishReason::kError:
      return v1::FINISH_REASON_ERROR;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

}  // namespace

v1::Timings ToTimings(const RequestStats& stats) {
  v1::Timings timings;
  timings.set_queue_ms(absl::ToDoubleMilliseconds(stats.queue_time));
  timings.set_ttft_ms(absl::ToDoubleMilliseconds(stats.ttft));
  timings.set_tpot_ms(absl::ToDoubleMilliseconds(stats.tpot));
  timings.set_total_ms(absl::ToDoubleMilliseconds(stats.total));
  return timings;
}

google::protobuf::RepeatedPtrField<v1::BitsCount> ToBitsCounts(
    const BitsHistogram& tokens) {
  google::protobuf::RepeatedPtrField<v1::BitsCount> counts;
  for (size_t bits = 0; bits < tokens.size(); ++bits) {
    if (tokens[bits] == 0) continue;
    v1::BitsCount* count = counts.Add();
    count->set_bits(static_cast<int>(bits));
    count->set_tokens(tokens[bits]);
  }
  return counts;
}

v1::Finish ToFinish(const Finish& finish) {
  v1::Finish message;
  message.set_reason(ToFinishReason(finish.reason));
  v1::Usage& usage = *message.mutable_usage();
  usage.set_prompt_tokens(finish.stats.prompt_tokens);
  usage.set_completion_tokens(finish.stats.completion_tokens);
  usage.set_cached_prompt_tokens(finish.stats.cached_prompt_tokens);
  usage.set_draft_tokens(finish.stats.draft_tokens);
  usage.set_accepted_draft_tokens(finish.stats.accepted_draft_tokens);
  *message.mutable_timings() = ToTimings(finish.stats);
  *message.mutable_tokens_by_bits() = ToBitsCounts(finish.stats.tokens_by_bits);
  message.set_precision_changes(finish.stats.precision_changes);
  *message.mutable_prompt_tokens_by_bits() =
      ToBitsCounts(finish.stats.prompt_tokens_by_bits);
  return message;
}

v1::GenerateResponse ToGenerateResponse(int index, const Chunk& chunk,
                                        bool logprobs) {
  v1::GenerateResponse response;
  response.set_index(index);
  response.set_text(chunk.text);
  for (const TokenOutput& output : chunk.tokens) {
    v1::Token* token = response.add_tokens();
    token->set_id(output.token);
    token->set_bits(output.bits);
    if (!logprobs) continue;
    token->set_logprob(output.logprob);
    for (const TokenLogprob& alternative : output.top) {
      v1::TokenLogprob* top = token->add_top_logprobs();
      top->set_id(alternative.token);
      top->set_logprob(alternative.logprob);
    }
  }
  if (chunk.finish.has_value()) {
    *response.mutable_finish() = ToFinish(*chunk.finish);
  }
  return response;
}

void AppendGenerateResponse(const v1::GenerateResponse& next,
                            v1::GenerateResponse& sample) {
  sample.set_index(next.index());
  if (next.has_prompt()) *sample.mutable_prompt() = next.prompt();
  sample.mutable_text()->append(next.text());
  sample.mutable_tokens()->MergeFrom(next.tokens());
  if (next.has_finish()) *sample.mutable_finish() = next.finish();
}

void AppendPromptTokens(std::span<const TokenId> prompt,
                        std::span<const float> logprobs, int first_scored,
                        google::protobuf::RepeatedPtrField<v1::Token>& tokens) {
  ANYPREC_CHECK(logprobs.empty() || logprobs.size() + 1 == prompt.size())
      << logprobs.size() << " log-probabilities for a prompt of "
      << prompt.size();
  for (size_t i = 0; i < prompt.size(); ++i) {
    v1::Token* token = tokens.Add();
    token->set_id(prompt[i]);
    if (!logprobs.empty() && i >= static_cast<size_t>(first_scored)) {
      token->set_logprob(logprobs[i - 1]);
    }
  }
}

v1::ScoreResponse ToScoreResponse(const Request& request, int context_tokens,
                                  std::span<const float> logprobs,
                                  const RequestStats& stats) {
  v1::ScoreResponse response;
  AppendPromptTokens(request.prompt, logprobs, context_tokens,
                     *response.mutable_tokens());
  double total = 0;
  for (const float logprob : logprobs.subspan(context_tokens - 1)) {
    total += logprob;
  }
  const int scored = static_cast<int>(request.prompt.size()) - context_tokens;
  response.set_total_logprob(total);
  response.set_perplexity(std::exp(-total / scored));
  response.set_scored_tokens(scored);
  response.set_bits(*request.precision.fixed_bits);
  *response.mutable_timings() = ToTimings(stats);
  return response;
}

}  // namespace anyprec
