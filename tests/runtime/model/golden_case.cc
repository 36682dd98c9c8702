#include "tests/runtime/model/golden_case.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <numeric>
#include <span>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace anyprec {
namespace {

constexpr int kBlockTokens = 16;

// One sequence on a KV cache of its own.
class Generator {
 public:
  Generator(LlamaModel& model, Backend& backend, int max_tokens)
      : model_(model) {
    blocks_.resize((max_tokens + kBlockTokens - 1) / kBlockTokens);
    // Descending block ids: a block table need not be in order.
    std::iota(blocks_.rbegin(), blocks_.rend(), 0);
    auto kv = backend.AllocateKv(
        model.KvLayoutFor(kBlockTokens, static_cast<int>(blocks_.size())),
        KvType::kFloat32);
    EXPECT_TRUE(kv.ok()) << kv.status();
    if (kv.ok()) kv_ = *std::move(kv);
  }

  // The logits after `tokens`, appended to what came before.
  std::vector<float> Append(std::span<const TokenId> tokens, Phase phase) {
    const int rows = static_cast<int>(tokens.size());
    const SequenceRows sequence = {
        .first_row = 0, .rows = rows, .position = position_, .blocks = blocks_};
    const RowGroup group = {
        .begin = 0, .end = rows, .precision = kUnquantizedBits, .phase = phase};
    const int32_t last_row = rows - 1;
    const auto output = model_.Forward({.tokens = tokens,
                                        .sequences = {&sequence, 1},
                                        .groups = {&group, 1},
                                        .logit_rows = {&last_row, 1}},
                                       *kv_);
    EXPECT_TRUE(output.ok()) << output.status();
    position_ += rows;
    if (!output.ok()) return {};
    return {output->logits.begin(), output->logits.end()};
  }

 private:
  LlamaModel& model_;
  std::unique_ptr<KvStorage> kv_;
  std::vector<int32_t> blocks_;
  int position_ = 0;
};

void ExpectLogits(const GoldenCase& expected, double tolerance,
                  const std::vector<float>& logits) {
  for (const auto& [token, logit] : expected.top_logits) {
    EXPECT_NEAR(logits[token], logit, tolerance) << "token " << token;
  }
  double sum = 0, squares = 0;
  for (const double logit : logits) {
    sum += logit;
    squares += logit * logit;
  }
  // Each logit may be off by `tolerance`; the errors of a sum of n add up like
  // a random walk of at most sqrt(n) steps, those of the norm do not add up.
  const double walk = tolerance * std::sqrt(logits.size());
  EXPECT_NEAR(sum, expected.logits_sum, walk);
  EXPECT_NEAR(std::sqrt(squares), expected.logits_l2, tolerance);
}

}  // namespace

absl::StatusOr<std::vector<GoldenCase>> ReadGoldenCases(
    const std::string& path) {
  std::ifstream file(path);
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_object() || !json.contains("cases")) {
    return absl::NotFoundError(absl::StrCat(path, ": no golden cases"));
  }
  std::vector<GoldenCase> cases;
  for (const nlohmann::json& entry : json["cases"]) {
    cases.push_back({.prompt = entry["prompt"],
                     .prompt_ids = entry["prompt_ids"],
                     .greedy_ids = entry["greedy_ids"],
                     .min_top2_gap = entry["min_top2_gap"],
                     .top_logits = entry["last_logits_top8"],
                     .logits_sum = entry["logits_sum"],
                     .logits_l2 = entry["logits_l2"]});
  }
  return cases;
}

void ExpectGolden(const std::vector<GoldenCase>& cases, double tolerance,
                  LlamaModel& model, Backend& backend) {
  ASSERT_FALSE(cases.empty());
  for (const GoldenCase& expected : cases) {
    SCOPED_TRACE(
        absl::StrCat("prompt \"", expected.prompt.substr(0, 60), "\""));
    Generator generator(model, backend,
                        static_cast<int>(expected.prompt_ids.size() +
                                         expected.greedy_ids.size()));
    std::vector<float> logits =
        generator.Append(expected.prompt_ids, Phase::kPrefill);
    ASSERT_EQ(logits.size(), model.config().vocab_size);
    ExpectLogits(expected, tolerance, logits);
    if (expected.min_top2_gap < 2 * tolerance) continue;

    std::vector<TokenId> greedy;
    for (size_t i = 0; i < expected.greedy_ids.size(); ++i) {
      const TokenId token = static_cast<TokenId>(
          std::max_element(logits.begin(), logits.end()) - logits.begin());
      greedy.push_back(token);
      logits = generator.Append({&token, 1}, Phase::kDecode);
      ASSERT_FALSE(logits.empty());
    }
    EXPECT_EQ(greedy, expected.greedy_ids);
  }
}

}  // namespace anyprec
