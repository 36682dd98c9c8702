// Sampler: from logits to the next token of one sequence.
//
// In this order: penalties, temperature, top_k, top_p (of what top_k left),
// min_p, draw; as HuggingFace transformers has it. repetition_penalty counts
// the prompt and the answer, presence_ and frequency_penalty the answer alone.
//
// The draw is a function of the seed, the token's index in the answer and the
// logits, and of nothing else: the same seed gives the same text whatever the
// batch mates.
//
// Thread-compatible; different samplers may run in different threads with
// scratch of their own.
#ifndef ANYPREC_RUNTIME_ENGINE_SAMPLER_H_
#define ANYPREC_RUNTIME_ENGINE_SAMPLER_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

// A logit and whose it is.
struct ScoredToken {
  float logit = 0;
  TokenId token = 0;
};

// Memory that samplers reuse from row to row.
struct SamplerScratch {
  std::vector<float> logits;        // after penalties
  std::vector<float> maxima;        // by block, of what is drawn from
  std::vector<float> model_maxima;  // by block, of the model's own logits
  std::vector<float> sums;
  std::vector<float> bounds;
  std::vector<double> ends;
  std::vector<ScoredToken> candidates;
};

class Sampler {
 public:
  // Temperatures below this mean greedy: at 1e-4 a lead of 0.01 in the logits
  // is a factor of e^100 in the probabilities.
  static constexpr float kGreedyTemperature = 1e-4f;

  // `top_logprobs` as in Request. REQUIRES: params passed validation.
  Sampler(const SamplingParams& params, std::optional<int> top_logprobs,
          std::span<const TokenId> prompt, uint64_t seed);

  // Draws token number `index` of the answer, from 0; token, logprob and top of
  // the result are set. Call it once for each index, in order.
  //   logits  [vocab_size]
  // INTERNAL where a logit is not finite.
  absl::StatusOr<TokenOutput> Sample(std::span<const float> logits, int index,
                                     SamplerScratch& scratch);

  // Whether Sample() only ever gives the likeliest token, without regard to the
  // tokens before it and without probabilities: it may as well not be called.
  bool TakesLikeliest() const {
    return greedy() && !penalizes_ && !top_logprobs_.has_value();
  }

  // The parts of Sample() that speculation needs (SpeculativeSampler). Below,
  // `drafts` stand between the answer so far and the token in question.

  bool greedy() const { return params_.temperature < kGreedyTemperature; }
  uint64_t seed() const { return seed_; }

  // What a greedy sampler takes.
  absl::StatusOr<TokenId> Likeliest(std::span<const float> logits,
                                    std::span<const TokenId> drafts,
                                    SamplerScratch& scratch) const;

  // The distribution that Sample() draws from, [vocab_size]. REQUIRES: not
  // greedy().
  absl::Status Probabilities(std::span<const float> logits,
                             std::span<const TokenId> drafts,
                             SamplerScratch& scratch,
                             std::vector<float>& probabilities) const;

  // As if Sample() had drawn `token`.
  absl::StatusOr<TokenOutput> Take(TokenId token, std::span<const float> logits,
                                   SamplerScratch& scratch);

 private:
  std::span<const float> Penalize(std::span<const float> logits,
                                  std::span<const TokenId> drafts,
                                  SamplerScratch& scratch) const;
  absl::StatusOr<std::span<const float>> Scores(std::span<const float> logits,
                                                std::span<const TokenId> drafts,
                                                SamplerScratch& scratch) const;
  TokenId Draw(std::span<const float> logits, float max, int index,
               SamplerScratch& scratch) const;

  struct Uses {
    bool in_prompt = false;
    int in_answer = 0;
  };

  const SamplingParams params_;
  const std::optional<int> top_logprobs_;
  const uint64_t seed_;
  const bool penalizes_;
  absl::flat_hash_map<TokenId, Uses> uses_;  // empty unless penalizes_
};

// INTERNAL: what becomes of a sequence one of whose logits is not finite.
absl::Status LogitsNotFinite();

// log-probability of `token`. INTERNAL where a logit is not finite.
absl::StatusOr<float> LogprobOf(std::span<const float> logits, TokenId token,
                                SamplerScratch& scratch);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_SAMPLER_H_
