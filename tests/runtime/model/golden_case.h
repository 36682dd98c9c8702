// Golden logits: cases of expected.json and golden.json files, and the check
// that a model reproduces them.
#ifndef ANYPREC_TESTS_RUNTIME_MODEL_GOLDEN_CASE_H_
#define ANYPREC_TESTS_RUNTIME_MODEL_GOLDEN_CASE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "runtime/model/llama_model.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

struct GoldenCase {
  std::string prompt;
  std::vector<TokenId> prompt_ids;
  std::vector<TokenId> greedy_ids;
  double min_top2_gap = 0;  // smallest lead of a greedy choice
  // After the prompt's last token.
  std::vector<std::pair<TokenId, double>> top_logits;
  double logits_sum = 0;
  double logits_l2 = 0;
};

absl::StatusOr<std::vector<GoldenCase>> ReadGoldenCases(
    const std::string& path);

// Runs each case on `model` at kUnquantizedBits and compares the logits within
// `tolerance`, and the greedy ids where no choice was closer than that.
void ExpectGolden(const std::vector<GoldenCase>& cases, double tolerance,
                  LlamaModel& model, Backend& backend);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_MODEL_GOLDEN_CASE_H_
