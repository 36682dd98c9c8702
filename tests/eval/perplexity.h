// Perplexity of a model on text, computed so that figures compare with
// published ones (GPTQ's and HuggingFace's procedures).
#ifndef ANYPREC_TESTS_EVAL_PERPLEXITY_H_
#define ANYPREC_TESTS_EVAL_PERPLEXITY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"
#include "runtime/model/llama_model.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

// Scores token sequences with one model at one precision. Thread-compatible.
class LikelihoodScorer {
 public:
  // `model` and `backend` must outlive the scorer. `context` is the longest
  // sequence that will be scored.
  static absl::StatusOr<std::unique_ptr<LikelihoodScorer>> Create(
      LlamaModel& model, Backend& backend, int bits, int context, int threads);

  // The sum of -log p(tokens[i] | tokens[0..i)) over i in [1, size).
  // INVALID_ARGUMENT where there are fewer than two tokens, more than the
  // context, or one that the model lacks.
  absl::StatusOr<double> NegativeLogLikelihood(std::span<const TokenId> tokens);

 private:
  LikelihoodScorer(LlamaModel& model, int bits, int context, int threads);

  LlamaModel& model_;
  const int bits_;
  const int context_;
  ThreadPool pool_;
  std::unique_ptr<KvStorage> kv_;
  std::vector<int32_t> blocks_;
};

struct Perplexity {
  double perplexity = 0;
  int64_t tokens = 0;  // scored
  int windows = 0;     // or documents
};

// A text that is scored alone, and what messages call it.
struct Document {
  std::string where;
  std::vector<TokenId> tokens;
};

using ProgressCallback = std::function<void(int windows_done)>;

// The text as one stream of tokens, cut into windows of `context` without
// overlap, the tail dropped, at most `max_windows` (0: all): exp of the mean of
// the windows' mean losses. The first token of a window is not scored.
absl::StatusOr<Perplexity> WindowPerplexity(LikelihoodScorer& scorer,
                                            std::span<const TokenId> tokens,
                                            int context, int max_windows,
                                            const ProgressCallback& progress);

// Each document alone, `bos` before it, every token after `bos` scored: exp of
// the mean over all scored tokens. Errors name the document.
absl::StatusOr<Perplexity> DocumentPerplexity(
    LikelihoodScorer& scorer, std::span<const Document> documents, TokenId bos,
    const ProgressCallback& progress);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_EVAL_PERPLEXITY_H_
