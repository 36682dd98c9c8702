// SpeculativeSampler: drafts tokens, and accepts or replaces them so that what
// comes out is distributed as if the sampler had drawn it itself (Leviathan,
// Kalman and Matias 2023, "Fast Inference from Transformers via Speculative
// Decoding", algorithm 1).
//
// With p the distribution of the precision asked for, q that of the draft, both
// after penalties, temperature and cuts: a draft x is accepted with probability
// min(1, p(x) / q(x)); the first that is not is replaced by a draw from
// max(0, p - q), normalized; after the last that is accepted one more token is
// drawn from p. Greedy, a draft is accepted where it is p's likeliest token.
//
// The same seed gives the same tokens, as long as the same drafts are made at
// the same places.
//
// Thread-compatible.
#ifndef ANYPREC_RUNTIME_ENGINE_SPECULATIVE_SAMPLER_H_
#define ANYPREC_RUNTIME_ENGINE_SPECULATIVE_SAMPLER_H_

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/engine/sampler.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

class SpeculativeSampler {
 public:
  // Borrows `sampler`, which draws all other tokens of the answer.
  explicit SpeculativeSampler(Sampler& sampler) : sampler_(sampler) {}

  // Draws the token that follows `drafts`, which this object drew after the
  // `index` tokens of the answer. Errors as Sampler::Sample.
  //   logits  [vocab_size], at the drafts' precision
  absl::StatusOr<TokenId> Draft(std::span<const float> logits, int index,
                                std::span<const TokenId> drafts,
                                SamplerScratch& scratch);

  // The drafts that are accepted and one token more.
  //   logits  [drafts + 1, vocab_size], at the precision asked for
  absl::StatusOr<std::vector<TokenOutput>> Verify(
      std::span<const float> logits, int index, std::span<const TokenId> drafts,
      SamplerScratch& scratch);

 private:
  TokenId Replace(std::span<const float> draft_probabilities, double u);

  Sampler& sampler_;
  std::vector<std::vector<float>> draft_probabilities_;  // empty if greedy
  std::vector<float> probabilities_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_SPECULATIVE_SAMPLER_H_
