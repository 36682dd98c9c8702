#include "runtime/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <optional>

#include "absl/status/status.h"
#include "kernels/status_macros.h"
#include "runtime/engine/logit_math.h"
#include "runtime/engine/random_stream.h"

namespace anyprec {
namespace {

// By logit, the smaller id first among equals.
bool Likelier(const ScoredToken& a, const ScoredToken& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

// Fills `candidates` with the tokens whose logit is at least `bound`, by id.
void CollectFrom(std::span<const float> logits, std::span<const float> maxima,
                 float bound, std::vector<ScoredToken>& candidates) {
  candidates.clear();
  for (size_t b = 0; b < maxima.size(); ++b) {
    if (maxima[b] < bound) continue;
    const size_t end = std::min(logits.size(), (b + 1) * kLogitBlock);
    for (size_t i = b * kLogitBlock; i < end; ++i) {
      if (logits[i] >= bound) {
        candidates.push_back({logits[i], static_cast<TokenId>(i)});
      }
    }
  }
}

// Sets scratch.candidates to the `count` likeliest tokens, likeliest first.
void SelectTop(std::span<const float> logits, std::span<const float> maxima,
               size_t count, SamplerScratch& scratch) {
  count = std::min(count, logits.size());
  // `count` blocks have a maximum of this bound or more: so have as many
  // tokens, and the likeliest `count` are among those that reach it.
  float bound = -std::numeric_limits<float>::infinity();
  if (count > 0 && count < maxima.size()) {
    std::vector<float>& bounds = scratch.bounds;
    bounds.assign(maxima.begin(), maxima.end());
    std::nth_element(bounds.begin(), bounds.begin() + (count - 1), bounds.end(),
                     std::greater<float>());
    bound = bounds[count - 1];
  }
  std::vector<ScoredToken>& candidates = scratch.candidates;
  CollectFrom(logits, maxima, bound, candidates);
  const auto end = candidates.begin() + count;
  if (end != candidates.end()) {
    std::nth_element(candidates.begin(), end, candidates.end(), Likelier);
  }
  candidates.resize(count);
  std::sort(candidates.begin(), candidates.end(), Likelier);
}

TokenId ArgMax(std::span<const float> logits, std::span<const float> maxima,
               float max) {
  const auto block = std::find(maxima.begin(), maxima.end(), max);
  const auto from = logits.begin() +
                    (block - maxima.begin()) * static_cast<long>(kLogitBlock);
  return static_cast<TokenId>(std::find(from, logits.end(), max) -
                              logits.begin());
}

// Weights relative to the likeliest token's.
struct Softmax {
  float max;
  float inverse_temperature;

  float Weight(float logit) const {
    return std::exp((logit - max) * inverse_temperature);
  }
  // The logit whose weight is `weight`; `weight` > 0.
  float LogitOf(double weight) const {
    return max + static_cast<float>(std::log(weight)) / inverse_temperature;
  }
};

// log of the sum of exp(logits).
double LogSumExp(std::span<const float> logits, std::span<const float> maxima,
                 std::vector<float>& sums) {
  const float max = Largest(maxima);
  return max + std::log(BlockExpSums(logits, maxima, max, 1.0f, sums));
}

// The token at which the weights, summed in the order of `candidates`, pass
// `u` times their total.
TokenId DrawFrom(std::span<const ScoredToken> candidates,
                 const Softmax& softmax, double u) {
  double total = 0;
  for (const ScoredToken& candidate : candidates) {
    total += softmax.Weight(candidate.logit);
  }
  double left = u * total;
  for (const ScoredToken& candidate : candidates) {
    left -= softmax.Weight(candidate.logit);
    if (left < 0) return candidate.token;
  }
  return candidates.front().token;  // rounding ate the last of the weights
}

// How many of `candidates`, likeliest first, it takes to reach `mass`; 0 where
// all of them do not.
size_t CountToMass(std::span<const ScoredToken> candidates,
                   const Softmax& softmax, double mass) {
  double sum = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    sum += softmax.Weight(candidates[i].logit);
    if (sum >= mass) return i + 1;
  }
  return 0;
}

// Draws from all tokens without a look at most of them (von Neumann's
// rejection): proposes a token of a block as if each were as likely as the
// block's likeliest, and keeps it with the probability that makes it right. At
// least one in kLogitBlock proposals is kept.
class FullDraw {
 public:
  FullDraw(std::span<const float> logits, std::span<const float> maxima,
           const Softmax& softmax, std::vector<double>& ends)
      : logits_(logits), maxima_(maxima), softmax_(softmax), ends_(ends) {
    ends_.clear();
    double total = 0;
    for (size_t b = 0; b < maxima.size(); ++b) {
      const size_t size =
          std::min(kLogitBlock, logits.size() - b * kLogitBlock);
      total += softmax.Weight(maxima[b]) * static_cast<double>(size);
      ends_.push_back(total);
    }
  }

  TokenId Draw(RandomStream& random) const {
    while (true) {
      const double place = random.Next() * ends_.back();
      const size_t b =
          std::upper_bound(ends_.begin(), ends_.end(), place) - ends_.begin();
      if (b == ends_.size()) continue;  // `place` was rounded up to the end
      const double offset =
          (place - (b == 0 ? 0 : ends_[b - 1])) / softmax_.Weight(maxima_[b]);
      const size_t token = std::min(
          b * kLogitBlock + static_cast<size_t>(offset), logits_.size() - 1);
      const float ratio = std::exp((logits_[token] - maxima_[b]) *
                                   softmax_.inverse_temperature);
      if (random.Next() < ratio) return static_cast<TokenId>(token);
    }
  }

 private:
  std::span<const float> logits_;
  std::span<const float> maxima_;
  const Softmax& softmax_;
  std::vector<double>& ends_;  // of each block in the proposals' weights
};

// Whether the tokens before `token`, likeliest first, hold less than `mass`: it
// then is one of the fewest that reach it.
bool InNucleus(std::span<const float> logits, std::span<const float> maxima,
               const Softmax& softmax, TokenId token, double mass) {
  const float logit = logits[token];
  double before = ExpSumAbove(logits, maxima, softmax.max,
                              softmax.inverse_temperature, logit);
  const double weight = softmax.Weight(logit);
  if (before < mass && before + weight * token >= mass) {
    before += weight * static_cast<double>(std::count(
                           logits.begin(), logits.begin() + token, logit));
  }
  return before < mass;
}

// Draws from the fewest likeliest tokens that reach `mass`, those below
// `least_logit` excepted.
TokenId DrawFromNucleus(std::span<const float> logits,
                        std::span<const float> maxima, const Softmax& softmax,
                        double mass, float least_logit, RandomStream& random,
                        std::vector<double>& ends) {
  const FullDraw all(logits, maxima, softmax, ends);
  // The likeliest token that was found outside: no use in asking again for one
  // that is not likelier still.
  std::optional<ScoredToken> outside;
  while (true) {
    const TokenId token = all.Draw(random);
    const ScoredToken proposal = {logits[token], token};
    if (proposal.logit < least_logit) continue;
    if (outside.has_value() && !Likelier(proposal, *outside)) continue;
    if (InNucleus(logits, maxima, softmax, token, mass)) return token;
    outside = proposal;
  }
}

bool CutsK(const SamplingParams& params, size_t vocab) {
  return params.top_k > 0 && static_cast<size_t>(params.top_k) < vocab;
}

bool CutsP(const SamplingParams& params) { return params.top_p < 1.0f; }

// What min_p leaves.
float LeastLogit(const SamplingParams& params, const Softmax& softmax) {
  return params.min_p > 0.0f ? softmax.LogitOf(params.min_p)
                             : -std::numeric_limits<float>::infinity();
}

// Sets scratch.candidates to what top_k and top_p leave, likeliest first.
// Returns false where top_p leaves more than it looked at, and candidates mean
// nothing. REQUIRES: either is on.
bool SelectNucleus(const SamplingParams& params, std::span<const float> logits,
                   const Softmax& softmax, SamplerScratch& scratch) {
  // Most distributions of language models have a nucleus this small.
  constexpr int kUsualNucleus = 64;
  const std::span<const float> maxima = scratch.maxima;
  const bool top_k = CutsK(params, logits.size());
  std::vector<ScoredToken>& candidates = scratch.candidates;
  SelectTop(logits, maxima, top_k ? params.top_k : kUsualNucleus, scratch);
  if (!CutsP(params)) return true;
  double total = 0;
  if (top_k) {
    for (const ScoredToken& candidate : candidates) {
      total += softmax.Weight(candidate.logit);
    }
  } else {
    total = BlockExpSums(logits, maxima, softmax.max,
                         softmax.inverse_temperature, scratch.sums);
  }
  const size_t count = CountToMass(candidates, softmax, params.top_p * total);
  if (count > 0) candidates.resize(count);
  return count > 0 || top_k;
}

}  // namespace

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

absl::StatusOr<std::span<const float>> Sampler::Scores(
    std::span<const float> logits, std::span<const TokenId> drafts,
    SamplerScratch& scratch) const {
  const std::span<const float> scores = Penalize(logits, drafts, scratch);
  if (!BlockMaxima(scores, scratch.maxima)) {
    return LogitsNotFinite();
  }
  return scores;
}

TokenId Sampler::Draw(std::span<const float> logits, float max, int index,
                      SamplerScratch& scratch) const {
  RandomStream random(seed_, index);
  const Softmax softmax = {max, 1.0f / params_.temperature};
  const std::span<const float> maxima = scratch.maxima;
  const float least_logit = LeastLogit(params_, softmax);
  const bool top_k = CutsK(params_, logits.size());
  std::vector<ScoredToken>& candidates = scratch.candidates;
  if (params_.min_p > 0.0f && !top_k) {
    CollectFrom(logits, maxima, least_logit, candidates);
    // Where they are many, proposals of all tokens are kept often enough.
    constexpr size_t kFewOf = 64;
    if (candidates.size() < logits.size() / kFewOf) {
      if (CutsP(params_)) {
        std::sort(candidates.begin(), candidates.end(), Likelier);
        const double total = BlockExpSums(
            logits, maxima, max, softmax.inverse_temperature, scratch.sums);
        const size_t count =
            CountToMass(candidates, softmax, params_.top_p * total);
        if (count > 0) candidates.resize(count);
      }
      return DrawFrom(candidates, softmax, random.Next());
    }
  }
  if (!top_k && !CutsP(params_)) {
    const FullDraw all(logits, maxima, softmax, scratch.ends);
    TokenId token;
    do {
      token = all.Draw(random);
    } while (logits[token] < least_logit);
    return token;
  }
  if (!SelectNucleus(params_, logits, softmax, scratch)) {
    const double total = BlockExpSums(
        logits, maxima, max, softmax.inverse_temperature, scratch.sums);
    return DrawFromNucleus(logits, maxima, softmax, params_.top_p * total,
                           least_logit, random, scratch.ends);
  }
  std::erase_if(candidates, [least_logit](const ScoredToken& candidate) {
    return candidate.logit < least_logit;
  });
  return DrawFrom(candidates, softmax, random.Next());
}

absl::StatusOr<TokenOutput> Sampler::Sample(std::span<const float> logits,
                                            int index,
                                            SamplerScratch& scratch) {
  ASSIGN_OR_RETURN(const std::span<const float> scores,
                   Scores(logits, {}, scratch));
  const float max = Largest(scratch.maxima);
  return Take(greedy() ? ArgMax(scores, scratch.maxima, max)
                       : Draw(scores, max, index, scratch),
              logits, scratch);
}

absl::StatusOr<TokenId> Sampler::Likeliest(std::span<const float> logits,
                                           std::span<const TokenId> drafts,
                                           SamplerScratch& scratch) const {
  ASSIGN_OR_RETURN(const std::span<const float> scores,
                   Scores(logits, drafts, scratch));
  return ArgMax(scores, scratch.maxima, Largest(scratch.maxima));
}

absl::Status Sampler::Probabilities(std::span<const float> logits,
                                    std::span<const TokenId> drafts,
                                    SamplerScratch& scratch,
                                    std::vector<float>& probabilities) const {
  ASSIGN_OR_RETURN(const std::span<const float> scores,
                   Scores(logits, drafts, scratch));
  const std::span<const float> maxima = scratch.maxima;
  const Softmax softmax = {Largest(maxima), 1.0f / params_.temperature};
  const float least_logit = LeastLogit(params_, softmax);
  probabilities.assign(scores.size(), 0);
  double total = 0;
  const auto add = [&](const ScoredToken& candidate) {
    if (candidate.logit < least_logit) return;
    const float weight = softmax.Weight(candidate.logit);
    probabilities[candidate.token] = weight;
    total += weight;
  };
  if (CutsK(params_, scores.size()) || CutsP(params_)) {
    std::vector<ScoredToken>& candidates = scratch.candidates;
    if (!SelectNucleus(params_, scores, softmax, scratch)) {
      SelectTop(scores, maxima, scores.size(), scratch);
      const double all =
          BlockExpSums(scores, maxima, softmax.max, softmax.inverse_temperature,
                       scratch.sums);
      const size_t count =
          CountToMass(candidates, softmax, params_.top_p * all);
      if (count > 0) candidates.resize(count);
    }
    for (const ScoredToken& candidate : candidates) add(candidate);
  } else {
    for (size_t i = 0; i < scores.size(); ++i) {
      add({scores[i], static_cast<TokenId>(i)});
    }
  }
  for (float& probability : probabilities) {
    probability = static_cast<float>(probability / total);
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenOutput> Sampler::Take(TokenId token,
                                          std::span<const float> logits,
                                          SamplerScratch& scratch) {
  TokenOutput output;
  output.token = token;
  if (penalizes_) ++uses_[token].in_answer;
  if (!top_logprobs_.has_value()) return output;

  if (!BlockMaxima(logits, scratch.model_maxima)) {
    return LogitsNotFinite();
  }
  const double log_sum = LogSumExp(logits, scratch.model_maxima, scratch.sums);
  output.logprob = static_cast<float>(logits[token] - log_sum);
  if (*top_logprobs_ > 0) {
    SelectTop(logits, scratch.model_maxima, *top_logprobs_, scratch);
    for (const ScoredToken& candidate : scratch.candidates) {
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
  if (!BlockMaxima(logits, scratch.maxima)) {
    return LogitsNotFinite();
  }
  return static_cast<float>(logits[token] -
                            LogSumExp(logits, scratch.maxima, scratch.sums));
}

}  // namespace anyprec
