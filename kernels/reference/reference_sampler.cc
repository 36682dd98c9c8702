#include "kernels/reference/reference_sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

namespace anyprec {
namespace {

// What is left of a row after its cuts.
struct Kept {
  std::vector<int32_t> tokens;    // likeliest first
  float least_logit = -INFINITY;  // that top_k and min_p leave
};

uint64_t Sum(const std::vector<uint64_t>& weights,
             const std::vector<int32_t>& tokens) {
  uint64_t sum = 0;
  for (const int32_t token : tokens) sum += weights[token];
  return sum;
}

Kept Cut(std::span<const float> logits, const std::vector<uint64_t>& weights,
         const TokenDraw& draw, const WeightScale& scale) {
  Kept kept;
  std::vector<int32_t>& tokens = kept.tokens;
  tokens.resize(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  std::ranges::stable_sort(
      tokens, [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  if (draw.CutsK(static_cast<int>(logits.size()))) {
    tokens.resize(draw.top_k);
    kept.least_logit = logits[tokens.back()];
  }
  if (draw.CutsP()) {
    const uint64_t wanted = NucleusWeight(draw.top_p, Sum(weights, tokens));
    size_t count = 0;
    for (uint64_t sum = 0; sum < wanted; ++count) sum += weights[tokens[count]];
    tokens.resize(count);
  }
  const float least = scale.max + LeastOffset(draw.min_p, scale.scale);
  std::erase_if(tokens, [&](int32_t token) { return logits[token] < least; });
  kept.least_logit = std::max(kept.least_logit, least);
  return kept;
}

int32_t DrawFromFew(std::vector<int32_t> kept,
                    const std::vector<uint64_t>& weights,
                    const RandomStream& random) {
  std::ranges::sort(kept);
  uint64_t place = ScaleDown(random.Number(0), Sum(weights, kept));
  for (const int32_t token : kept) {
    if (place < weights[token]) return token;
    place -= weights[token];
  }
  return kNotFinite;  // not reached: `place` is less than the sum
}

int32_t DrawFromMany(std::span<const float> logits, const Kept& kept,
                     const std::vector<uint64_t>& weights,
                     const RandomStream& random) {
  struct Block {
    size_t first = 0;
    size_t size = 0;
    uint64_t weight = 0;  // of each of its tokens, for a start
  };
  std::vector<Block> blocks;
  uint64_t total = 0;
  for (size_t first = 0; first < logits.size(); first += kLogitBlock) {
    const size_t size = std::min<size_t>(kLogitBlock, logits.size() - first);
    const auto row = logits.subspan(first, size);
    const auto likeliest = std::ranges::max_element(row);
    if (*likeliest < kept.least_logit) continue;
    const uint64_t weight = weights[first + (likeliest - row.begin())];
    blocks.push_back({first, size, weight});
    total += weight * size;
  }
  std::vector<bool> keeps(logits.size());
  for (const int32_t token : kept.tokens) keeps[token] = true;
  for (uint64_t i = 0;; ++i) {
    uint64_t place = ScaleDown(random.Number(i), total);
    for (const Block& block : blocks) {
      const uint64_t share = block.weight * block.size;
      if (place < share) {
        const size_t token = block.first + place / block.weight;
        const uint64_t rest = place % block.weight;
        if (rest < weights[token] && keeps[token]) {
          return static_cast<int32_t>(token);
        }
        break;
      }
      place -= share;
    }
  }
}

}  // namespace

int32_t ReferenceDraw(std::span<const float> logits, const TokenDraw& draw) {
  for (const float logit : logits) {
    if (!std::isfinite(logit)) return kNotFinite;
  }
  const auto likeliest = std::ranges::max_element(logits);
  if (draw.greedy()) return static_cast<int32_t>(likeliest - logits.begin());

  const WeightScale scale = {*likeliest, ScaleOf(draw.temperature)};
  std::vector<uint64_t> weights;
  for (const float logit : logits) weights.push_back(WeightOf(logit, scale));
  const Kept kept = Cut(logits, weights, draw, scale);
  const RandomStream random(draw.seed, draw.index);
  return kept.tokens.size() <= kFewTokens
             ? DrawFromFew(kept.tokens, weights, random)
             : DrawFromMany(logits, kept, weights, random);
}

}  // namespace anyprec
