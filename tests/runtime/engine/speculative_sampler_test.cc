#include "runtime/engine/speculative_sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr int kVocab = 12;

std::vector<float> RandomLogits(std::mt19937& random, int rows, float spread) {
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(static_cast<size_t>(rows) * kVocab);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

std::span<const float> Row(const std::vector<float>& logits, int row) {
  return std::span(logits).subspan(static_cast<size_t>(row) * kVocab, kVocab);
}

// What one window yields, from rows of logits that do not depend on tokens.
std::vector<TokenId> Speculate(const SamplingParams& params, uint64_t seed,
                               const std::vector<float>& target,
                               const std::vector<float>& draft,
                               int num_drafts) {
  Sampler sampler(params, std::nullopt, {}, seed);
  SpeculativeSampler speculative(sampler);
  SamplerScratch scratch;
  std::vector<TokenId> drafts;
  for (int i = 0; i < num_drafts; ++i) {
    drafts.push_back(*speculative.Draft(Row(draft, i), 0, drafts, scratch));
  }
  std::vector<TokenId> tokens;
  const auto outputs = speculative.Verify(target, 0, drafts, scratch);
  for (const TokenOutput& output : *outputs) {
    tokens.push_back(output.token);
  }
  return tokens;
}

std::vector<float> ProbabilitiesOf(const SamplingParams& params,
                                   std::span<const float> logits) {
  const Sampler sampler(params, std::nullopt, {}, 1);
  SamplerScratch scratch;
  std::vector<float> probabilities;
  EXPECT_TRUE(sampler.Probabilities(logits, {}, scratch, probabilities).ok());
  return probabilities;
}

// Pearson's statistic of `counts` against `probabilities`, and its degrees of
// freedom. Tokens that cannot come must not have come.
void ExpectDistributed(const std::vector<int>& counts,
                       const std::vector<float>& probabilities) {
  int total = 0;
  for (const int count : counts) total += count;
  double statistic = 0;
  int cells = 0;
  for (int token = 0; token < kVocab; ++token) {
    const double expected = total * double{probabilities[token]};
    if (expected == 0) {
      EXPECT_EQ(counts[token], 0) << token;
      continue;
    }
    if (expected < 5) continue;
    statistic += std::pow(counts[token] - expected, 2) / expected;
    ++cells;
  }
  // Mean plus five standard deviations of the chi-square distribution.
  const double freedom = std::max(1, cells - 1);
  EXPECT_LT(statistic, freedom + 5 * std::sqrt(2 * freedom));
}

struct Case {
  const char* name;
  SamplingParams params;
};

class SpeculativeDistributionTest : public testing::TestWithParam<Case> {};

TEST_P(SpeculativeDistributionTest, EachTokenIsDistributedAsWithoutDrafts) {
  std::mt19937 random(7);
  constexpr int kDrafts = 3;
  const std::vector<float> target = RandomLogits(random, kDrafts + 1, 2);
  std::vector<float> draft = RandomLogits(random, kDrafts, 1);
  for (size_t i = 0; i < draft.size(); ++i) draft[i] += target[i];
  std::vector<std::vector<int>> counts(kDrafts + 1, std::vector<int>(kVocab));
  int windows_of_several = 0;
  for (uint64_t seed = 0; seed < 40000; ++seed) {
    const std::vector<TokenId> tokens =
        Speculate(GetParam().params, seed, target, draft, kDrafts);
    windows_of_several += tokens.size() > 1 ? 1 : 0;
    for (size_t i = 0; i < tokens.size(); ++i) ++counts[i][tokens[i]];
  }
  EXPECT_GT(windows_of_several, 4000);
  for (int i = 0; i <= kDrafts; ++i) {
    SCOPED_TRACE(i);
    ExpectDistributed(counts[i],
                      ProbabilitiesOf(GetParam().params, Row(target, i)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Params, SpeculativeDistributionTest,
    testing::Values(
        Case{"Plain", {}}, Case{"Warm", {.temperature = 1.5f}},
        Case{"TopK", {.top_k = 4}}, Case{"TopP", {.top_p = 0.8f}},
        Case{"MinP", {.min_p = 0.1f}},
        Case{"All",
             {.temperature = 0.7f, .top_k = 6, .top_p = 0.9f, .min_p = 0.05f}}),
    [](const auto& info) { return info.param.name; });

TEST(SamplerProbabilitiesTest, AreWhatSampleDrawsFrom) {
  std::mt19937 random(3);
  const std::vector<float> logits = RandomLogits(random, 1, 2);
  const SamplingParams params = {
      .temperature = 0.8f, .top_k = 8, .top_p = 0.95f, .min_p = 0.01f};
  std::vector<int> counts(kVocab);
  SamplerScratch scratch;
  for (uint64_t seed = 0; seed < 40000; ++seed) {
    Sampler sampler(params, std::nullopt, {}, seed);
    ++counts[sampler.Sample(logits, 0, scratch)->token];
  }
  ExpectDistributed(counts, ProbabilitiesOf(params, logits));
}

TEST(SpeculativeSamplerTest, ADraftLikeTheTargetIsAlwaysAccepted) {
  std::mt19937 random(5);
  const std::vector<float> target = RandomLogits(random, 4, 2);
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    EXPECT_EQ(Speculate({}, seed, target, target, 3).size(), 4u);
  }
}

TEST(SpeculativeSamplerTest, GreedyYieldsTheTargetsOwnTokens) {
  std::mt19937 random(6);
  const SamplingParams greedy = {.temperature = 0};
  std::map<size_t, int> lengths;
  for (int trial = 0; trial < 500; ++trial) {
    const std::vector<float> target = RandomLogits(random, 4, 1);
    std::vector<float> draft = RandomLogits(random, 3, 1);
    for (size_t i = 0; i < draft.size(); ++i) draft[i] += target[i];
    const std::vector<TokenId> tokens = Speculate(greedy, 1, target, draft, 3);
    ++lengths[tokens.size()];
    Sampler sampler(greedy, std::nullopt, {}, 1);
    SamplerScratch scratch;
    for (size_t i = 0; i < tokens.size(); ++i) {
      ASSERT_EQ(tokens[i], sampler
                               .Sample(Row(target, static_cast<int>(i)),
                                       static_cast<int>(i), scratch)
                               ->token);
    }
  }
  EXPECT_EQ(lengths.size(), 4u);  // 1 to 4 tokens, each now and then
}

TEST(SpeculativeSamplerTest, PenaltiesCountDraftsAsIfTheyWereAnswered) {
  // All rows alike: without a penalty the same token would come four times.
  std::vector<float> logits;
  for (int row = 0; row < 4; ++row) {
    for (int token = 0; token < kVocab; ++token) {
      logits.push_back(-0.5f * static_cast<float>(token));
    }
  }
  const SamplingParams params = {.temperature = 0, .presence_penalty = 2.0f};
  const std::vector<TokenId> tokens = Speculate(params, 1, logits, logits, 3);
  Sampler sampler(params, std::nullopt, {}, 1);
  SamplerScratch scratch;
  std::vector<TokenId> plain;
  for (int i = 0; i < 4; ++i) {
    plain.push_back(sampler.Sample(Row(logits, i), i, scratch)->token);
  }
  EXPECT_EQ(tokens, plain);
  EXPECT_NE(plain[0], plain[1]);
}

TEST(SpeculativeSamplerTest, TheSameSeedGivesTheSameTokens) {
  std::mt19937 random(8);
  const std::vector<float> target = RandomLogits(random, 4, 1);
  const std::vector<float> draft = RandomLogits(random, 3, 1);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_EQ(Speculate({}, seed, target, draft, 3),
              Speculate({}, seed, target, draft, 3));
  }
}

TEST(SpeculativeSamplerTest, LogitsThatAreNotFiniteAreAnError) {
  std::vector<float> logits(kVocab * 2, 0.0f);
  for (const float temperature : {0.0f, 1.0f}) {
    Sampler sampler({.temperature = temperature}, std::nullopt, {}, 1);
    SpeculativeSampler speculative(sampler);
    SamplerScratch scratch;
    logits[3] = 0;
    const TokenId draft = *speculative.Draft(Row(logits, 0), 0, {}, scratch);
    logits[3] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_FALSE(speculative.Draft(Row(logits, 0), 0, {}, scratch).ok());
    EXPECT_FALSE(speculative.Verify(logits, 0, {&draft, 1}, scratch).ok());
  }
}

}  // namespace
}  // namespace anyprec
