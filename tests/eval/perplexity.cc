#include "tests/eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

constexpr int kBlockTokens = 16;

// Rows per forward pass: enough for a product near its peak, and 50 MB of
// logits with a vocabulary of 49152.
constexpr int kRowsPerStep = 256;

// -log softmax(logits)[target]. The largest logit is taken off first, so that
// no exponential overflows; the sum is in double because up to 128 k terms of
// very different size meet in it.
double NegativeLogSoftmax(std::span<const float> logits, TokenId target) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return std::log(sum) + largest - logits[target];
}

}  // namespace

LikelihoodScorer::LikelihoodScorer(LlamaModel& model, int bits, int context,
                                   int threads)
    : model_(model),
      bits_(bits),
      context_(context),
      pool_({.threads = threads}) {}

absl::StatusOr<std::unique_ptr<LikelihoodScorer>> LikelihoodScorer::Create(
    LlamaModel& model, Backend& backend, int bits, int context, int threads) {
  if (bits < model.seed_bits() || bits > model.max_bits()) {
    return absl::InvalidArgumentError(
        absl::StrCat("bits is ", bits, ", the model offers ", model.seed_bits(),
                     "..", model.max_bits()));
  }
  if (context < 2 || context > model.max_context_tokens()) {
    return absl::InvalidArgumentError(
        absl::StrCat("context is ", context, ", must be in [2, ",
                     model.max_context_tokens(), "]"));
  }
  auto scorer =
      absl::WrapUnique(new LikelihoodScorer(model, bits, context, threads));
  const int blocks = (context + kBlockTokens - 1) / kBlockTokens;
  scorer->blocks_.resize(blocks);
  std::iota(scorer->blocks_.begin(), scorer->blocks_.end(), 0);
  ASSIGN_OR_RETURN(scorer->kv_,
                   backend.AllocateKv(model.KvLayoutFor(kBlockTokens, blocks),
                                      KvType::kFloat32));
  return scorer;
}

absl::StatusOr<double> LikelihoodScorer::NegativeLogLikelihood(
    std::span<const TokenId> tokens) {
  const int size = static_cast<int>(tokens.size());
  if (size < 2 || size > context_) {
    return absl::InvalidArgumentError(
        absl::StrCat(size, " tokens, must be in [2, ", context_, "]"));
  }
  const int vocab = model_.config().vocab_size;
  for (const TokenId token : tokens) {
    if (token < 0 || token >= vocab) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token ", token, " is outside the vocabulary of ", vocab));
    }
  }
  double total = 0;
  // The last token is only a target.
  for (int begin = 0; begin < size - 1; begin += kRowsPerStep) {
    const int rows = std::min(kRowsPerStep, size - 1 - begin);
    std::vector<int32_t> logit_rows(rows);
    std::iota(logit_rows.begin(), logit_rows.end(), 0);
    const SequenceRows sequence = {
        .first_row = 0, .rows = rows, .position = begin, .blocks = blocks_};
    const RowGroup group = {
        .begin = 0, .end = rows, .precision = bits_, .phase = Phase::kPrefill};
    ASSIGN_OR_RETURN(const StepOutput output,
                     model_.Forward({.tokens = tokens.subspan(begin, rows),
                                     .sequences = {&sequence, 1},
                                     .groups = {&group, 1},
                                     .logit_rows = logit_rows},
                                    *kv_));
    std::vector<double> losses(rows);
    pool_.ParallelFor(rows, 1, [&](size_t first, size_t last) {
      for (size_t row = first; row < last; ++row) {
        losses[row] = NegativeLogSoftmax(
            output.logits.subspan(row * vocab, vocab), tokens[begin + row + 1]);
      }
    });
    total = std::accumulate(losses.begin(), losses.end(), total);
  }
  return total;
}

absl::StatusOr<Perplexity> WindowPerplexity(LikelihoodScorer& scorer,
                                            std::span<const TokenId> tokens,
                                            int context, int max_windows,
                                            const ProgressCallback& progress) {
  int windows = static_cast<int>(tokens.size() / context);
  if (windows == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the text has ", tokens.size(), " tokens, one window needs ", context));
  }
  if (max_windows > 0) windows = std::min(windows, max_windows);
  double mean_losses = 0;
  for (int window = 0; window < windows; ++window) {
    ASSIGN_OR_RETURN(const double loss,
                     scorer.NegativeLogLikelihood(tokens.subspan(
                         static_cast<size_t>(window) * context, context)));
    mean_losses += loss / (context - 1);
    progress(window + 1);
  }
  return Perplexity{.perplexity = std::exp(mean_losses / windows),
                    .tokens = static_cast<int64_t>(windows) * (context - 1),
                    .windows = windows};
}

absl::StatusOr<Perplexity> DocumentPerplexity(
    LikelihoodScorer& scorer, std::span<const Document> documents, TokenId bos,
    const ProgressCallback& progress) {
  Perplexity result;
  double loss = 0;
  for (const Document& document : documents) {
    std::vector<TokenId> tokens = {bos};
    tokens.insert(tokens.end(), document.tokens.begin(), document.tokens.end());
    absl::StatusOr<double> part = scorer.NegativeLogLikelihood(tokens);
    if (!part.ok()) {
      return absl::Status(
          part.status().code(),
          absl::StrCat(document.where, ": ", part.status().message()));
    }
    loss += *part;
    result.tokens += static_cast<int64_t>(document.tokens.size());
    progress(++result.windows);
  }
  if (result.tokens == 0) {
    return absl::InvalidArgumentError("there is no document to score");
  }
  result.perplexity = std::exp(loss / static_cast<double>(result.tokens));
  return result;
}

}  // namespace anyprec
