#include "runtime/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> RandomLogits(int size, uint32_t seed, float spread = 3.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// Probabilities at a temperature, in double.
std::vector<double> Probabilities(const std::vector<float>& logits,
                                  double temperature = 1.0) {
  const double max = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  for (const float logit : logits) {
    p.push_back(std::exp((logit - max) / temperature));
  }
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= total;
  return p;
}

// Ids, likeliest first.
std::vector<TokenId> Ranked(const std::vector<float>& logits) {
  std::vector<TokenId> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](TokenId a, TokenId b) { return logits[a] > logits[b]; });
  return ids;
}

std::vector<TokenId> DrawMany(const SamplingParams& params,
                              const std::vector<float>& logits, int count,
                              uint64_t seed = 7) {
  Sampler sampler(params, std::nullopt, {}, seed);
  SamplerScratch scratch;
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back(sampler.Sample(logits, i, scratch)->token);
  }
  return tokens;
}

std::set<TokenId> Support(const SamplingParams& params,
                          const std::vector<float>& logits, int count) {
  const std::vector<TokenId> tokens = DrawMany(params, logits, count);
  return {tokens.begin(), tokens.end()};
}

// Chi-square of draws against `expected` probabilities, cells of fewer than
// five expected draws pooled. Returns the statistic over its 99.9th percentile.
double ChiSquareRatio(const std::vector<TokenId>& tokens,
                      const std::vector<double>& expected) {
  std::vector<int> counts(expected.size());
  for (const TokenId token : tokens) ++counts[token];
  double statistic = 0;
  double pooled_count = 0;
  double pooled_expected = 0;
  int cells = 0;
  const auto add = [&](double count, double mean) {
    statistic += (count - mean) * (count - mean) / mean;
    ++cells;
  };
  for (size_t i = 0; i < expected.size(); ++i) {
    const double mean = expected[i] * static_cast<double>(tokens.size());
    if (mean >= 5) {
      add(counts[i], mean);
    } else {
      pooled_count += counts[i];
      pooled_expected += mean;
    }
  }
  if (pooled_expected > 0) add(pooled_count, std::max(pooled_expected, 1e-9));
  // Wilson and Hilferty's approximation of the quantile; z of 0.999 is 3.09.
  const double k = std::max(1, cells - 1);
  const double root = 1 - 2 / (9 * k) + 3.09 * std::sqrt(2 / (9 * k));
  return statistic / (k * root * root * root);
}

TEST(SamplerTest, ZeroTemperatureTakesTheLikeliestToken) {
  for (const int size : {1, 64, 65, 1000, 49152}) {
    const std::vector<float> logits = RandomLogits(size, 3);
    EXPECT_EQ(DrawMany({.temperature = 0}, logits, 1)[0], Ranked(logits)[0]);
  }
}

TEST(SamplerTest, GreedyTakesTheSmallestIdAmongEquals) {
  std::vector<float> logits(1000, 1.0f);
  logits[130] = logits[131] = logits[900] = 2.0f;
  EXPECT_EQ(DrawMany({.temperature = 0}, logits, 1)[0], 130);
}

TEST(SamplerTest, DrawsFollowTheSoftmax) {
  const std::vector<float> logits = RandomLogits(300, 4, 1.5f);
  for (const float temperature : {0.5f, 1.0f, 1.7f}) {
    const auto tokens = DrawMany({.temperature = temperature}, logits, 40000);
    EXPECT_LT(ChiSquareRatio(tokens, Probabilities(logits, temperature)), 1.0)
        << temperature;
  }
}

TEST(SamplerTest, TopKDrawsFromTheLikeliestKInProportion) {
  const std::vector<float> logits = RandomLogits(1000, 5, 1.0f);
  const std::vector<TokenId> ranked = Ranked(logits);
  for (const int k : {1, 5, 40, 500}) {
    std::vector<double> expected = Probabilities(logits);
    for (size_t i = k; i < ranked.size(); ++i) expected[ranked[i]] = 0;
    const double total = std::accumulate(expected.begin(), expected.end(), 0.0);
    for (double& p : expected) p /= total;
    const auto tokens = DrawMany({.top_k = k}, logits, 4000);
    for (const TokenId token : tokens) ASSERT_GT(expected[token], 0);
    EXPECT_LT(ChiSquareRatio(tokens, expected), 1.0) << k;
  }
}

TEST(SamplerTest, TopKBeyondTheVocabularyCutsNothing) {
  const std::vector<float> logits = RandomLogits(100, 6);
  EXPECT_EQ(DrawMany({.top_k = 100000}, logits, 500),
            DrawMany({.top_k = 0}, logits, 500));
}

TEST(SamplerTest, TopPKeepsTheSmallestSetThatReachesTheMass) {
  // 0.5, 0.25, 0.125, 0.125.
  const std::vector<float> logits = {std::log(0.125f), std::log(0.5f),
                                     std::log(0.125f), std::log(0.25f)};
  EXPECT_EQ(Support({.top_p = 0.01f}, logits, 500), (std::set<TokenId>{1}));
  EXPECT_EQ(Support({.top_p = 0.45f}, logits, 500), (std::set<TokenId>{1}));
  EXPECT_EQ(Support({.top_p = 0.6f}, logits, 500), (std::set<TokenId>{1, 3}));
  EXPECT_EQ(Support({.top_p = 0.8f}, logits, 500),
            (std::set<TokenId>{0, 1, 3}));
  EXPECT_EQ(Support({.top_p = 0.99f}, logits, 500),
            (std::set<TokenId>{0, 1, 2, 3}));
}

TEST(SamplerTest, TopPHandlesANucleusOfMostTokens) {
  // Nearly flat: the nucleus is most of the vocabulary.
  const std::vector<float> logits = RandomLogits(1000, 8, 0.1f);
  const std::vector<TokenId> ranked = Ranked(logits);
  const std::vector<double> p = Probabilities(logits);
  std::set<TokenId> nucleus;
  double mass = 0;
  for (const TokenId token : ranked) {
    if (mass >= 0.9) break;
    mass += p[token];
    nucleus.insert(token);
  }
  // The token at the edge may fall on either side by rounding.
  nucleus.insert(ranked[nucleus.size()]);
  std::set<TokenId> seen;
  for (const TokenId token : DrawMany({.top_p = 0.9f}, logits, 3000)) {
    ASSERT_TRUE(nucleus.contains(token));
    seen.insert(token);
  }
  EXPECT_GT(seen.size(), nucleus.size() * 9 / 10);
}

TEST(SamplerTest, ALargeNucleusIsDrawnFromInProportion) {
  const std::vector<float> logits = RandomLogits(500, 8, 0.5f);
  const std::vector<TokenId> ranked = Ranked(logits);
  std::vector<double> expected = Probabilities(logits);
  // A nucleus that ends midway between two sums, far from rounding.
  double mass = 0;
  for (int i = 0; i < 200; ++i) mass += expected[ranked[i]];
  const float top_p = static_cast<float>(mass - expected[ranked[199]] / 2);
  for (size_t i = 200; i < ranked.size(); ++i) expected[ranked[i]] = 0;
  for (double& p : expected) p /= mass;
  const auto tokens = DrawMany({.top_p = top_p}, logits, 20000);
  for (const TokenId token : tokens) ASSERT_GT(expected[token], 0);
  EXPECT_LT(ChiSquareRatio(tokens, expected), 1.0);
}

TEST(SamplerTest, EquallyLikelyTokensEnterTheNucleusById) {
  const std::vector<float> logits(1000, 0.5f);
  const std::set<TokenId> seen = Support({.top_p = 0.2995f}, logits, 10000);
  EXPECT_EQ(seen.size(), 300u);
  EXPECT_EQ(*seen.rbegin(), 299);
}

TEST(SamplerTest, TopPAppliesToWhatTopKLeft) {
  // 0.5, 0.25, 0.125, 0.125: of the first two, the first holds 2/3.
  const std::vector<float> logits = {std::log(0.125f), std::log(0.5f),
                                     std::log(0.125f), std::log(0.25f)};
  EXPECT_EQ(Support({.top_k = 2, .top_p = 0.6f}, logits, 500),
            (std::set<TokenId>{1}));
  EXPECT_EQ(Support({.top_k = 2, .top_p = 0.7f}, logits, 500),
            (std::set<TokenId>{1, 3}));
}

TEST(SamplerTest, MinPIsRelativeToTheLikeliestToken) {
  const std::vector<float> logits = {std::log(0.125f), std::log(0.5f),
                                     std::log(0.124f), std::log(0.25f)};
  EXPECT_EQ(Support({.min_p = 0.4f}, logits, 500), (std::set<TokenId>{1, 3}));
  EXPECT_EQ(Support({.min_p = 0.249f}, logits, 500),
            (std::set<TokenId>{0, 1, 3}));
  EXPECT_EQ(Support({.min_p = 1.0f}, logits, 500), (std::set<TokenId>{1}));
  EXPECT_EQ(Support({.top_k = 3, .min_p = 0.4f}, logits, 500),
            (std::set<TokenId>{1, 3}));
  EXPECT_EQ(Support({.top_p = 0.99f, .min_p = 0.4f}, logits, 500),
            (std::set<TokenId>{1, 3}));
}

// A cut that leaves few tokens of many takes another way than one that leaves
// most.
TEST(SamplerTest, MinPOfALargeVocabularyKeepsTheShares) {
  std::vector<float> logits(5000, -20.0f);
  logits[17] = std::log(0.5f);
  logits[1234] = std::log(0.25f);
  logits[4999] = std::log(0.125f);
  std::map<TokenId, int> counts;
  constexpr int kDraws = 7000;
  for (const TokenId token : DrawMany({.min_p = 0.2f}, logits, kDraws, 3)) {
    ++counts[token];
  }
  EXPECT_EQ(counts.size(), 3u);
  EXPECT_NEAR(counts[17], 4000, 200);
  EXPECT_NEAR(counts[1234], 2000, 200);
  EXPECT_NEAR(counts[4999], 1000, 200);
  EXPECT_EQ(Support({.top_p = 0.9f, .min_p = 0.2f}, logits, 500),
            (std::set<TokenId>{17, 1234, 4999}));
  EXPECT_EQ(Support({.top_p = 0.8f, .min_p = 0.2f}, logits, 500),
            (std::set<TokenId>{17, 1234}));
  // Hot and strict: one in 5000 proposals would be kept.
  EXPECT_EQ(Support({.temperature = 100.0f, .min_p = 1.0f}, logits, 500),
            (std::set<TokenId>{17}));
}

TEST(SamplerTest, TheSeedDecidesTheDraws) {
  const std::vector<float> logits = RandomLogits(1000, 9, 1.0f);
  for (const SamplingParams& params :
       {SamplingParams{}, SamplingParams{.top_p = 0.9f},
        SamplingParams{.top_k = 50}, SamplingParams{.min_p = 0.01f}}) {
    EXPECT_EQ(DrawMany(params, logits, 200, 11),
              DrawMany(params, logits, 200, 11));
    EXPECT_NE(DrawMany(params, logits, 200, 11),
              DrawMany(params, logits, 200, 12));
  }
}

TEST(SamplerTest, ADrawDependsOnSeedAndIndexNotOnHistory) {
  const std::vector<float> logits = RandomLogits(1000, 9, 1.0f);
  const std::vector<TokenId> tokens = DrawMany({}, logits, 50, 11);
  Sampler sampler({}, std::nullopt, {}, 11);
  SamplerScratch scratch;
  EXPECT_EQ(sampler.Sample(logits, 42, scratch)->token, tokens[42]);
}

TEST(SamplerTest, RepetitionPenaltyCountsPromptAndAnswer) {
  std::vector<float> logits(100, -1.0f);
  logits[3] = 4.0f;
  logits[5] = 3.0f;
  logits[9] = 2.5f;
  const std::vector<TokenId> prompt = {3};
  Sampler sampler({.temperature = 0, .repetition_penalty = 2.0f}, std::nullopt,
                  prompt, 0);
  SamplerScratch scratch;
  EXPECT_EQ(sampler.Sample(logits, 0, scratch)->token, 5);  // 3 is at 2
  EXPECT_EQ(sampler.Sample(logits, 1, scratch)->token, 9);  // 5 is at 1.5
  EXPECT_EQ(sampler.Sample(logits, 2, scratch)->token, 3);  // 9 is at 1.25
}

TEST(SamplerTest, RepetitionPenaltyLowersNegativeLogitsToo) {
  std::vector<float> logits(100, -5.0f);
  logits[3] = -2.0f;
  logits[5] = -3.0f;
  const std::vector<TokenId> prompt = {3};
  Sampler sampler({.temperature = 0, .repetition_penalty = 2.0f}, std::nullopt,
                  prompt, 0);
  SamplerScratch scratch;
  EXPECT_EQ(sampler.Sample(logits, 0, scratch)->token, 5);
}

TEST(SamplerTest, PresenceAndFrequencyPenaltiesCountTheAnswerOnly) {
  std::vector<float> logits(100, -10.0f);
  logits[3] = 4.0f;
  logits[5] = 2.5f;
  const std::vector<TokenId> prompt = {3, 3, 3};
  SamplerScratch scratch;
  Sampler presence({.temperature = 0, .presence_penalty = 2.0f}, std::nullopt,
                   prompt, 0);
  EXPECT_EQ(presence.Sample(logits, 0, scratch)->token, 3);
  EXPECT_EQ(presence.Sample(logits, 1, scratch)->token, 5);  // 3 is at 2
  EXPECT_EQ(presence.Sample(logits, 2, scratch)->token, 3);  // 5 is at 0.5
  EXPECT_EQ(presence.Sample(logits, 3, scratch)->token, 3);  // still at 2
  Sampler frequency({.temperature = 0, .frequency_penalty = 1.0f}, std::nullopt,
                    prompt, 0);
  EXPECT_EQ(frequency.Sample(logits, 0, scratch)->token, 3);
  EXPECT_EQ(frequency.Sample(logits, 1, scratch)->token, 3);  // at 3
  EXPECT_EQ(frequency.Sample(logits, 2, scratch)->token, 5);  // 3 is at 2
}

TEST(SamplerTest, LogprobsAreTheModelsOwn) {
  const std::vector<float> logits = RandomLogits(1000, 10);
  const std::vector<double> p = Probabilities(logits);
  const std::vector<TokenId> ranked = Ranked(logits);
  const std::vector<TokenId> prompt = {ranked[0]};
  // Temperature and penalties change the draw, not what is reported.
  Sampler sampler({.temperature = 2.0f, .repetition_penalty = 5.0f}, 5, prompt,
                  1);
  SamplerScratch scratch;
  const TokenOutput output = *sampler.Sample(logits, 0, scratch);
  EXPECT_NEAR(output.logprob, std::log(p[output.token]), 1e-4);
  ASSERT_EQ(output.top.size(), 5u);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(output.top[i].token, ranked[i]);
    EXPECT_NEAR(output.top[i].logprob, std::log(p[ranked[i]]), 1e-4);
  }
}

TEST(SamplerTest, LogprobOfATokenAgreesWithTheSoftmax) {
  const std::vector<float> logits = RandomLogits(1000, 10);
  const std::vector<double> p = Probabilities(logits);
  SamplerScratch scratch;
  for (const TokenId token : {0, 500, 999}) {
    EXPECT_NEAR(*LogprobOf(logits, token, scratch), std::log(p[token]), 1e-4);
  }
}

TEST(SamplerTest, LogitsThatAreNotFiniteAreAnError) {
  for (const float value : {kNaN, kInfinity, -kInfinity}) {
    std::vector<float> logits = RandomLogits(1000, 1);
    logits[77] = value;
    SamplerScratch scratch;
    for (const SamplingParams& params :
         {SamplingParams{.temperature = 0}, SamplingParams{.top_p = 0.5f},
          SamplingParams{.repetition_penalty = 1.5f}}) {
      Sampler sampler(params, 2, {}, 1);
      EXPECT_EQ(sampler.Sample(logits, 0, scratch).status().code(),
                absl::StatusCode::kInternal);
    }
    EXPECT_FALSE(LogprobOf(logits, 0, scratch).ok());
  }
}

TEST(SamplerTest, ExtremeLogitsAndTemperaturesStayInTheVocabulary) {
  std::vector<float> logits(130, -3e38f);
  logits[129] = 3e38f;
  for (const float temperature : {0.001f, 1.0f, 100.0f}) {
    for (const float top_p : {1.0f, 0.5f}) {
      EXPECT_EQ(
          Support({.temperature = temperature, .top_p = top_p}, logits, 20),
          (std::set<TokenId>{129}));
    }
  }
}

}  // namespace
}  // namespace anyprec
