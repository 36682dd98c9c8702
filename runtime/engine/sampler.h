// Sampler: from logits to the next token of one sequence.
//
// In this order: penalties, temperature, top_k, top_p (of what top_k left),
// min_p, draw; as HuggingFace transformers has it. repetition_penalty counts
// the prompt and the answer, presence_ and frequency_penalty the answer alone.
// From the temperature on it is kernels/sampling.h.
//
// The draw is a function of the seed, the token's index in the answer and the
// logits, and of nothing else: the same seed gives the same text whatever the
// batch mates, and whether this object draws or a backend.
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
#include "kernels/cpu/row_sampler.h"
#include "kernels/sampling.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

// Memory that samplers reuse from row to row.
struct SamplerScratch {
  std::vector<float> logits;  // after penalties
  RowScratch row;
};

class Sampler {
 public:
  // `top_logprobs` as in Request. REQUIRES: params passed validation.
  Sampler(const SamplingParams& params, std::optional<int> top_logprobs,
          std::span<const TokenId> prompt, uint64_t seed);

  // Draws token number `index` of the answer, from 0; token, logprob and top of
  // the result are set. Call it once for each index, in order.
  //   logits  [vocab_size]
  // INTERNAL where a logit is not finite.
  absl::StatusOr<TokenOutput> Sample(std::span<const float> logits, int index,
                                     SamplerScratch& scratch);

  // What a backend draws token number `index` by.
  TokenDraw DrawOf(int index) const;

  // Whether Sample() gives what a backend draws, without regard to the tokens
  // before it and without probabilities: it may as well not be called.
  bool OnlyDraws() const { return !penalizes_ && !top_logprobs_.has_value(); }

  // The parts of Sample() that speculation needs (SpeculativeSampler). Below,
  // `drafts` stand between the answer so far and the token in question.

  bool greedy() const { return DrawOf(0).greedy(); }
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
