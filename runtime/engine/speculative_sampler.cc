#include "runtime/engine/speculative_sampler.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "kernels/check.h"
#include "kernels/sampling.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// The token at which the sum of `weights` passes `u` times `total`.
template <typename WeightOf>
TokenId DrawByWeight(size_t vocab, double total, double u,
                     const WeightOf& weight_of) {
  double left = u * total;
  TokenId last = 0;  // with any weight: rounding may leave some of `left`
  for (size_t i = 0; i < vocab; ++i) {
    const double weight = weight_of(i);
    if (weight <= 0) continue;
    last = static_cast<TokenId>(i);
    left -= weight;
    if (left < 0) break;
  }
  return last;
}

}  // namespace

absl::StatusOr<TokenId> SpeculativeSampler::Draft(
    std::span<const float> logits, int index, std::span<const TokenId> drafts,
    SamplerScratch& scratch) {
  if (sampler_.greedy()) return sampler_.Likeliest(logits, drafts, scratch);
  draft_probabilities_.resize(
      std::max(draft_probabilities_.size(), drafts.size() + 1));
  std::vector<float>& probabilities = draft_probabilities_[drafts.size()];
  RETURN_IF_ERROR(
      sampler_.Probabilities(logits, drafts, scratch, probabilities));
  const RandomStream random(sampler_.seed(),
                            index + static_cast<int>(drafts.size()),
                            RandomStream::Purpose::kDraft);
  return DrawByWeight(probabilities.size(), 1.0, random.Unit(0),
                      [&](size_t i) { return probabilities[i]; });
}

absl::StatusOr<std::vector<TokenOutput>> SpeculativeSampler::Verify(
    std::span<const float> logits, int index, std::span<const TokenId> drafts,
    SamplerScratch& scratch) {
  const size_t rows = drafts.size() + 1;
  ANYPREC_CHECK(logits.size() % rows == 0)
      << logits.size() << " logits for " << rows << " rows";
  const size_t vocab = logits.size() / rows;
  std::vector<TokenOutput> outputs;
  for (size_t i = 0; i < drafts.size(); ++i) {
    const std::span<const float> row = logits.subspan(i * vocab, vocab);
    TokenId token = drafts[i];
    if (sampler_.greedy()) {
      ASSIGN_OR_RETURN(token, sampler_.Likeliest(row, {}, scratch));
    } else {
      RETURN_IF_ERROR(sampler_.Probabilities(row, {}, scratch, probabilities_));
      const std::span<const float> drafted = draft_probabilities_.at(i);
      const RandomStream random(sampler_.seed(), index + static_cast<int>(i),
                                RandomStream::Purpose::kVerdict);
      if (random.Unit(0) * drafted[token] >= probabilities_[token]) {
        token = Replace(drafted, random.Unit(1));
      }
    }
    ASSIGN_OR_RETURN(TokenOutput output, sampler_.Take(token, row, scratch));
    outputs.push_back(std::move(output));
    if (token != drafts[i]) return outputs;
  }
  ASSIGN_OR_RETURN(
      TokenOutput last,
      sampler_.Sample(logits.last(vocab),
                      index + static_cast<int>(drafts.size()), scratch));
  outputs.push_back(std::move(last));
  return outputs;
}

// Draws from what `probabilities_` has beyond the draft's.
TokenId SpeculativeSampler::Replace(std::span<const float> draft_probabilities,
                                    double u) {
  const auto excess = [&](size_t i) {
    return std::max(0.0f, probabilities_[i] - draft_probabilities[i]);
  };
  double total = 0;
  for (size_t i = 0; i < probabilities_.size(); ++i) total += excess(i);
  // A draft is rejected only where p is less than q somewhere, and so more
  // elsewhere; but for rounding.
  if (total <= 0) {
    return DrawByWeight(probabilities_.size(), 1.0, u,
                        [&](size_t i) { return probabilities_[i]; });
  }
  return DrawByWeight(probabilities_.size(), total, u, excess);
}

}  // namespace anyprec
