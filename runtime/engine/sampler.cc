#include "runtime/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>

#include "absl/status/status.h"
#include "kernels/cpu/logit_math.h"
#include "kernels/status_macros.h"

namespace anyprec {

Sampler::Sampler(const SamplingParams& params, std::optional<int> top_logprobs,
                 std::span<const TokenId> prompt, uint64_t seed)
    : params_(params),
      top_logprobs_(top_logprobs),
      seed_(seed),
      penalizes_(params.repetition_penalty != 1.0f ||
                 params.presence_penalty != 0.0f ||
                 params.frequency_penalty != 0.0f) {
  if (!penalizes_) return;
  for (const TokenId token : prompt) uses_[token].in_prompt = true;
}

std::span<const float> Sampler::Penalize(std::span<const float> logits,
                                         std::span<const TokenId> drafts,
                                         SamplerScratch& scratch) const {
  if (!penalizes_) return logits;
  scratch.logits.assign(logits.begin(), logits.end());
  const auto penalize = [&](TokenId token, int uses_in_answer) {
    if (token < 0 || static_cast<size_t>(token) >= logits.size()) return;
    float& logit = scratch.logits[token];
    logit = logit > 0 ? logit / params_.repetition_penalty
                      : logit * params_.repetition_penalty;
    if (uses_in_answer > 0) {
      logit -= params_.presence_penalty +
               params_.frequency_penalty * static_cast<float>(uses_in_answer);
    }
  };
  absl::flat_hash_map<TokenId, int> drafted;
  for (const TokenId token : drafts) ++drafted[token];
  for (const auto& [token, uses] : uses_) {
    const auto found = drafted.find(token);
    penalize(token,
             uses.in_answer + (found == drafted.end() ? 0 : found->second));
  }
  for (const auto& [token, count] : drafted) {
    if (!uses_.contains(token)) penalize(token, count);
  }
  return scratch.logits;
}

TokenDraw Sampler::DrawOf(int index) const {
  return {.temperature = params_.temperature,
          .top_k = params_.top_k,
          .top_p = params_.top_p,
          .min_p = params_.min_p,
          .seed = seed_,
          .index = index};
}

absl::StatusOr<TokenOutput> Sampler::Sample(std::span<const float> logits,
                                            int index,
                                            SamplerScratch& scratch) {
  const TokenId token =
      DrawToken(Penalize(logits, {}, scratch), DrawOf(index), scratch.row);
  if (token == kNotFinite) return LogitsNotFinite();
  return Take(token, logits, scratch);
}

absl::StatusOr<TokenId> Sampler::Likeliest(std::span<const float> logits,
                                           std::span<const TokenId> drafts,
                                           SamplerScratch& scratch) const {
  TokenDraw draw;
  draw.temperature = 0;
  const TokenId token =
      DrawToken(Penalize(logits, drafts, scratch), draw, scratch.row);
  if (token == kNotFinite) return LogitsNotFinite();
  return token;
}

absl::Status Sampler::Probabilities(std::span<const float> logits,
                                    std::span<const TokenId> drafts,
                                    SamplerScratch& scratch,
                                    std::vector<float>& probabilities) const {
  const bool finite = TokenProbabilities(Penalize(logits, drafts, scratch),
                                         DrawOf(0), scratch.row, probabilities);
  return finite ? absl::OkStatus() : LogitsNotFinite();
}

absl::StatusOr<TokenOutput> Sampler::Take(TokenId token,
                                          std::span<const float> logits,
                                          SamplerScratch& scratch) {
  TokenOutput output;
  output.token = token;
  if (penalizes_) ++uses_[token].in_answer;
  if (!top_logprobs_.has_value()) return output;

  const std::vector<float>& maxima = scratch.row.maxima;
  if (!BlockMaxima(logits, scratch.row.maxima)) return LogitsNotFinite();
  const double log_sum = LogSumExp(logits, maxima);
  output.logprob = static_cast<float>(logits[token] - log_sum);
  if (*top_logprobs_ > 0) {
    SelectTop(logits, maxima, *top_logprobs_, scratch.row);
    for (const ScoredToken& candidate : scratch.row.candidates) {
      output.top.push_back(
          {candidate.token, static_cast<float>(candidate.logit - log_sum)});
    }
  }
  return output;
}

absl::Status LogitsNotFinite() {
  return absl::InternalError("the logits are not finite");
}

absl::StatusOr<float> LogprobOf(std::span<const float> logits, TokenId token,
                                SamplerScratch& scratch) {
  const std::vector<float>& maxima = scratch.row.maxima;
  if (!BlockMaxima(logits, scratch.row.maxima)) return LogitsNotFinite();
  return static_cast<float>(logits[token] - LogSumExp(logits, maxima));
}

}  // namespace anyprec
