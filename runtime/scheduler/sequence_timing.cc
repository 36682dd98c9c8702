#include "runtime/scheduler/sequence_timing.h"

#include <algorithm>
#include <cstdint>

namespace anyprec {
namespace {

// Lead or lag against a TPOT target is spread over this many tokens: few enough
// to catch up soon, enough that one slow step does not upset the precision.
constexpr int kPaceTokens = 8;

// Part of a TPOT target that chunks of prompts leave an answer to fall back to,
// so that none ends just on it. More of it slows prompts down.
constexpr double kPace = 0.98;

// How long an answer is taken to be that may fill the context, for pacing it
// against a deadline: a page of text, longer than most answers of a chat. Too
// few cost precision late in a long answer, too many in every short one.
constexpr int kExpectedAnswerTokens = 256;

}  // namespace

int TokensLeft(const Sequence& sequence) {
  const StopCriteria& stopping = sequence.request.stopping;
  const int generated = sequence.generated();
  if (stopping.max_tokens_given) return stopping.max_tokens - generated;
  int64_t expected = kExpectedAnswerTokens;
  while (expected <= generated) expected *= 2;
  return static_cast<int>(std::min<int64_t>(expected, stopping.max_tokens)) -
         generated;
}

absl::Duration NextTokenIn(const Sequence& sequence, absl::Duration step,
                           absl::Time now) {
  const Request& request = sequence.request;
  const int left = TokensLeft(sequence);
  absl::Duration in = absl::InfiniteDuration();
  if (now + left * step <= request.deadline) {
    in = (request.deadline - now) / std::max(1, left);
  }
  if (request.precision.slo.tpot.has_value()) {
    const absl::Duration tpot = *request.precision.slo.tpot;
    const auto due = [&](int token, absl::Duration pace) {
      return sequence.first_token + (token - 1) * pace;
    };
    const int next = sequence.generated() + 1;
    if (now + left * step <= due(next - 1 + left, tpot)) {
      in = std::min(in, due(next, kPace * tpot) - now);
    }
  }
  return in;
}

absl::Time FirstTokenDue(const Sequence& sequence, absl::Duration step) {
  const Request& request = sequence.request;
  if (request.precision.slo.ttft.has_value()) {
    return sequence.submitted + *request.precision.slo.ttft;
  }
  return request.deadline - TokensLeft(sequence) * step;
}

PrecisionDemand DemandOf(const Sequence& sequence, absl::Time now) {
  const Request& request = sequence.request;
  PrecisionDemand demand;
  demand.min_bits = sequence.min_bits;
  demand.max_bits = sequence.max_bits;
  demand.current_bits = sequence.current_bits;
  demand.prompt_rows_left = sequence.decodes() ? 0 : sequence.rows_left();
  demand.context_tokens = sequence.rows_done();
  demand.tokens_left = TokensLeft(sequence);
  demand.all_in = request.deadline - now;
  const Slo& slo = request.precision.slo;
  const int generated = sequence.generated();
  if (slo.ttft.has_value() && generated == 0) {
    demand.first_token_in = sequence.submitted + *slo.ttft - now;
  }
  if (slo.tpot.has_value()) {
    demand.token_every = *slo.tpot;
    if (generated > 0) {
      const absl::Duration lead =
          sequence.first_token + (generated - 1) * *slo.tpot - now;
      demand.token_every += lead / kPaceTokens;
    }
  }
  return demand;
}

}  // namespace anyprec
