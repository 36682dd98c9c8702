#include "kernels/cpu/row_sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>

#include "kernels/cpu/logit_math.h"

namespace anyprec {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool Likelier(const ScoredToken& a, const ScoredToken& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

bool LowerId(const ScoredToken& a, const ScoredToken& b) {
  return a.token < b.token;
}

// Sets `candidates` to the tokens whose logit is at least `bound`, by id.
// Stops where they are more than `limit`.
void CollectFrom(std::span<const float> logits, std::span<const float> maxima,
                 float bound, size_t limit,
                 std::vector<ScoredToken>& candidates) {
  candidates.clear();
  for (size_t b = 0; b < maxima.size() && candidates.size() <= limit; ++b) {
    if (maxima[b] < bound) continue;
    const size_t end = std::min(logits.size(), (b + 1) * kLogitBlock);
    for (size_t i = b * kLogitBlock; i < end; ++i) {
      if (logits[i] >= bound) {
        candidates.push_back({logits[i], static_cast<int32_t>(i)});
      }
    }
  }
}

// Sets scratch.candidates to the `count` likeliest tokens, the least likely of
// them last.
void PartitionTop(std::span<const float> logits, std::span<const float> maxima,
                  size_t count, RowScratch& scratch) {
  count = std::min(count, logits.size());
  // `count` blocks have a maximum of this bound or more: so have as many
  // tokens, and the likeliest `count` are among those that reach it.
  float bound = -kInfinity;
  if (count > 0 && count < maxima.size()) {
    std::vector<float>& bounds = scratch.logits;
    bounds.assign(maxima.begin(), maxima.end());
    std::nth_element(bounds.begin(), bounds.begin() + (count - 1), bounds.end(),
                     std::greater<float>());
    bound = bounds[count - 1];
  }
  std::vector<ScoredToken>& candidates = scratch.candidates;
  CollectFrom(logits, maxima, bound, logits.size(), candidates);
  if (count > 0) {
    std::nth_element(candidates.begin(), candidates.begin() + (count - 1),
                     candidates.end(), Likelier);
  }
  candidates.resize(count);
}

int32_t ArgMax(std::span<const float> logits, std::span<const float> maxima,
               float max) {
  const auto block = std::find(maxima.begin(), maxima.end(), max);
  const auto from =
      logits.begin() + (block - maxima.begin()) * ptrdiff_t{kLogitBlock};
  return static_cast<int32_t>(std::find(from, logits.end(), max) -
                              logits.begin());
}

// One draw. scratch.maxima are the row's.
class RowDraw {
 public:
  RowDraw(std::span<const float> logits, const TokenDraw& draw,
          RowScratch& scratch)
      : logits_(logits),
        draw_(draw),
        scratch_(scratch),
        weights_({Largest(scratch.maxima), ScaleOf(draw.temperature)}),
        least_logit_(weights_.max + LeastOffset(draw.min_p, weights_.scale)),
        cuts_k_(draw.CutsK(static_cast<int>(logits.size()))),
        stream_(draw.seed, draw.index) {}

  int32_t Draw() {
    if (!SelectKept(kFewTokens)) {
      return Propose([&](const ScoredToken& proposal) {
        return !draw_.CutsP() || InNucleus(proposal);
      });
    }
    const std::vector<ScoredToken>& kept = scratch_.candidates;
    if (kept.size() <= kFewTokens) return DrawFromKept();
    const ScoredToken last =
        *std::max_element(kept.begin(), kept.end(), Likelier);
    return Propose(
        [&](const ScoredToken& proposal) { return !Likelier(last, proposal); });
  }

  void Probabilities(std::vector<float>& probabilities) {
    if (!SelectKept(kFewTokens)) SelectKept(logits_.size());
    const auto total = static_cast<double>(WeighCandidates());
    probabilities.assign(logits_.size(), 0);
    for (size_t i = 0; i < scratch_.candidates.size(); ++i) {
      probabilities[scratch_.candidates[i].token] =
          static_cast<float>(scratch_.weights[i] / total);
    }
  }

 private:
  // Sets scratch_.candidates to the tokens that are kept. Returns false where
  // there are more than `limit` and it has not looked for the rest; unless
  // top_k tells how many they are. least_logit_ then is the least that top_k
  // and min_p leave.
  bool SelectKept(size_t limit) {
    std::vector<ScoredToken>& candidates = scratch_.candidates;
    if (!cuts_k_ && !draw_.CutsP()) {
      if (least_logit_ == -kInfinity && logits_.size() > limit) return false;
      CollectFrom(logits_, scratch_.maxima, least_logit_, limit, candidates);
      return candidates.size() <= limit;
    }
    PartitionTop(logits_, scratch_.maxima, cuts_k_ ? draw_.top_k : limit + 1,
                 scratch_);
    if (cuts_k_) least_logit_ = std::max(least_logit_, candidates.back().logit);
    if (draw_.CutsP() && !CutToNucleus() &&
        candidates.back().logit >= least_logit_) {
      return false;
    }
    std::erase_if(candidates, [this](const ScoredToken& candidate) {
      return candidate.logit < least_logit_;
    });
    return true;
  }

  // Returns false, all of them sorted, where the candidates are less than the
  // nucleus.
  bool CutToNucleus() {
    std::vector<ScoredToken>& candidates = scratch_.candidates;
    std::sort(candidates.begin(), candidates.end(), Likelier);
    const uint64_t top_weight = WeighCandidates();
    nucleus_weight_ = NucleusWeight(
        draw_.top_p, cuts_k_ ? top_weight : WeightAbove(-kInfinity));
    uint64_t sum = 0;
    for (size_t i = 0; i < candidates.size(); ++i) {
      sum += scratch_.weights[i];
      if (sum < nucleus_weight_) continue;
      candidates.resize(i + 1);
      return true;
    }
    return false;
  }

  uint64_t WeightAbove(float threshold) const {
    return anyprec::WeightAbove(logits_, scratch_.maxima, weights_, threshold);
  }

  // Sets scratch_.weights to the candidates'. Returns their sum.
  uint64_t WeighCandidates() {
    std::vector<float>& logits = scratch_.logits;
    logits.clear();
    for (const ScoredToken& candidate : scratch_.candidates) {
      logits.push_back(candidate.logit);
    }
    Weights(logits, weights_, scratch_.weights);
    return std::accumulate(scratch_.weights.begin(), scratch_.weights.end(),
                           uint64_t{0});
  }

  int32_t DrawFromKept() {
    std::vector<ScoredToken>& kept = scratch_.candidates;
    std::sort(kept.begin(), kept.end(), LowerId);
    uint64_t place = ScaleDown(stream_.Number(0), WeighCandidates());
    size_t i = 0;
    while (place >= scratch_.weights[i]) place -= scratch_.weights[i++];
    return kept[i].token;
  }

  template <typename Keeps>
  int32_t Propose(const Keeps& keeps) {
    const std::span<const float> maxima = scratch_.maxima;
    std::vector<uint32_t>& weights = scratch_.weights;
    std::vector<uint64_t>& ends = scratch_.ends;
    Weights(maxima, weights_, weights);
    ends.resize(maxima.size());
    uint64_t total = 0;
    for (size_t b = 0; b < maxima.size(); ++b) {
      const size_t size =
          std::min<size_t>(kLogitBlock, logits_.size() - b * kLogitBlock);
      if (maxima[b] >= least_logit_) total += uint64_t{weights[b]} * size;
      ends[b] = total;
    }
    for (uint64_t i = 0;; ++i) {
      const uint64_t place = ScaleDown(stream_.Number(i), total);
      const size_t b =
          std::upper_bound(ends.begin(), ends.end(), place) - ends.begin();
      const uint64_t offset = place - (b == 0 ? 0 : ends[b - 1]);
      const size_t token = b * kLogitBlock + offset / weights[b];
      const ScoredToken proposal = {logits_[token],
                                    static_cast<int32_t>(token)};
      if (proposal.logit < least_logit_) continue;
      if (offset % weights[b] >= WeightOf(proposal.logit, weights_)) continue;
      if (keeps(proposal)) return proposal.token;
    }
  }

  // Whether the tokens before `token`, likeliest first, weigh less than the
  // nucleus must: it then is one of the fewest that reach it.
  bool InNucleus(const ScoredToken& token) {
    if (outside_.has_value() && !Likelier(token, *outside_)) return false;
    uint64_t before = WeightAbove(token.logit);
    const uint64_t weight = WeightOf(token.logit, weights_);
    if (before < nucleus_weight_ &&
        before + weight * token.token >= nucleus_weight_) {
      before += weight * std::count(logits_.begin(),
                                    logits_.begin() + token.token, token.logit);
    }
    if (before < nucleus_weight_) return true;
    outside_ = token;
    return false;
  }

  const std::span<const float> logits_;
  const TokenDraw& draw_;
  RowScratch& scratch_;
  const WeightScale weights_;
  float least_logit_;
  const bool cuts_k_;
  const RandomStream stream_;
  uint64_t nucleus_weight_ = 0;
  // The likeliest token that was found outside of the nucleus: no use in
  // looking again at one that is not likelier still.
  std::optional<ScoredToken> outside_;
};

}  // namespace

int32_t DrawToken(std::span<const float> logits, const TokenDraw& draw,
                  RowScratch& scratch) {
  if (!BlockMaxima(logits, scratch.maxima)) return kNotFinite;
  if (draw.greedy()) {
    return ArgMax(logits, scratch.maxima, Largest(scratch.maxima));
  }
  return RowDraw(logits, draw, scratch).Draw();
}

bool TokenProbabilities(std::span<const float> logits, const TokenDraw& draw,
                        RowScratch& scratch,
                        std::vector<float>& probabilities) {
  if (!BlockMaxima(logits, scratch.maxima)) return false;
  RowDraw(logits, draw, scratch).Probabilities(probabilities);
  return true;
}

void SelectTop(std::span<const float> logits, std::span<const float> maxima,
               size_t count, RowScratch& scratch) {
  PartitionTop(logits, maxima, count, scratch);
  std::sort(scratch.candidates.begin(), scratch.candidates.end(), Likelier);
}

double LogSumExp(std::span<const float> logits, std::span<const float> maxima) {
  const float max = Largest(maxima);
  const uint64_t sum =
      WeightAbove(logits, maxima, {max, ScaleOf(1.0f)}, -kInfinity);
  return max + std::log(static_cast<double>(sum) / kWeightOne);
}

}  // namespace anyprec
