// The sampler of kernels/sampling.h for a row of logits in the host's memory.
//
// Pure functions but for the scratch that callers lend; safe from any thread
// with scratch of its own.
#ifndef ANYPREC_KERNELS_CPU_ROW_SAMPLER_H_
#define ANYPREC_KERNELS_CPU_ROW_SAMPLER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sampling.h"

namespace anyprec {

// A logit and whose it is.
struct ScoredToken {
  float logit = 0;
  int32_t token = 0;
};

// Memory that is reused from row to row.
struct RowScratch {
  std::vector<float> maxima;  // by block, as BlockMaxima() sets them
  std::vector<ScoredToken> candidates;
  std::vector<float> logits;
  std::vector<uint32_t> weights;  // of `candidates`, or of `maxima`
  std::vector<uint64_t> ends;     // of each block in the proposals' weights
};

// The token drawn, or kNotFinite.
int32_t DrawToken(std::span<const float> logits, const TokenDraw& draw,
                  RowScratch& scratch);

// Sets `probabilities` to those of DrawToken(), [logits.size()]. Returns
// whether every logit is finite. REQUIRES: !draw.greedy().
bool TokenProbabilities(std::span<const float> logits, const TokenDraw& draw,
                        RowScratch& scratch, std::vector<float>& probabilities);

// Sets scratch.candidates to the `count` likeliest tokens, likeliest first.
//   maxima  as BlockMaxima() sets them
void SelectTop(std::span<const float> logits, std::span<const float> maxima,
               size_t count, RowScratch& scratch);

// log of the sum of exp(logits), to 1e-6, and 2^-30 for each logit that is less
// than the largest by 21 or more.
//   maxima  as BlockMaxima() sets them
double LogSumExp(std::span<const float> logits, std::span<const float> maxima);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_ROW_SAMPLER_H_
