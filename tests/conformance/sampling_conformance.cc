// Sampling: what is drawn is the same everywhere.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/sampling.h"
#include "tests/conformance/backend_conformance.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

constexpr int kVocabSizes[] = {1,  2,   15,  16,  17,   63,  64,
                               65, 100, 128, 129, 1000, 2049};

// Draws from rows of x[.., n], all at once, into memory that held something
// else.
std::vector<int32_t> Sample(Backend& backend, std::span<const float> x, int n,
                            std::span<const TokenDraw> draws) {
  auto in = Upload(backend, x);
  std::vector<int32_t> tokens(draws.size(), -77);
  EXPECT_TRUE(backend.Sample(in->data(), draws, n, tokens).ok());
  return tokens;
}

std::vector<int32_t> TakeLikeliest(Backend& backend, std::span<const float> x,
                                   int n) {
  std::vector<TokenDraw> draws;
  for (size_t row = 0; row < x.size() / n; ++row) {
    draws.push_back({.row = static_cast<int32_t>(row), .temperature = 0});
  }
  return Sample(backend, x, n, draws);
}

TEST_P(BackendConformanceTest, GreedyFindsTheLargestLogitWhereverItStands) {
  for (const int n : kVocabSizes) {
    const size_t size = n;
    // Row r's largest value stands at every place in turn, among negative ones.
    const int step = std::max(1, n / 37);
    std::vector<float> x;
    std::vector<TokenDraw> draws;
    std::vector<int32_t> want;
    for (int place = 0; place < n; place += step) {
      std::vector<float> row = RandomFloats(size, n + place);
      for (float& value : row) value = -1 - std::abs(value);
      row[place] = -0.5f;
      draws.insert(draws.begin(), {.row = static_cast<int32_t>(want.size()),
                                   .temperature = 0});
      want.push_back(place);
      x.insert(x.end(), row.begin(), row.end());
    }
    std::reverse(want.begin(), want.end());  // as `draws` asks for them
    EXPECT_EQ(Sample(*backend_, x, n, draws), want) << n;
  }
}

TEST_P(BackendConformanceTest, GreedyTakesTheFirstOfEquals) {
  for (const int n : kVocabSizes) {
    std::vector<float> x(n, 0.0f);
    for (int i = 0; i < n; i += 2) x[i] = -0.0f;  // equal as well
    EXPECT_THAT(TakeLikeliest(*backend_, x, n), testing::ElementsAre(0)) << n;
    if (n < 4) continue;
    for (const int first : {1, n / 2, n - 2}) {
      std::vector<float> y = x;
      y[first] = y[n - 1] = 3;
      EXPECT_THAT(TakeLikeliest(*backend_, y, n), testing::ElementsAre(first))
          << n;
    }
  }
}

TEST_P(BackendConformanceTest, SamplingTellsOfLogitsThatAreNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const int n : kVocabSizes) {
    const size_t size = n;
    for (const float bad : {NAN, -NAN, kInfinity, -kInfinity}) {
      for (const int place : {0, n / 2, n - 1}) {
        // The middle row of three that are good otherwise.
        std::vector<float> x(3 * size, 1.0f);
        x[size + place] = bad;
        EXPECT_THAT(TakeLikeliest(*backend_, x, n),
                    testing::ElementsAre(0, kNotFinite, 0))
            << n << " with " << bad << " at " << place;
        const std::vector<TokenDraw> draws = {
            {.row = 1}, {.row = 0, .top_k = 1}, {.row = 1, .top_p = 0.5f}};
        EXPECT_THAT(Sample(*backend_, x, n, draws),
                    testing::ElementsAre(kNotFinite, 0, kNotFinite))
            << n << " with " << bad << " at " << place;
      }
    }
    const float most = std::numeric_limits<float>::max();
    const std::vector<float> x(size, -most);  // is finite
    EXPECT_THAT(TakeLikeliest(*backend_, x, n), testing::ElementsAre(0));
  }
}

// Rows of one size: far from flat, nearly flat, and with ties at every cut.
std::vector<float> AwkwardRows(int n) {
  const size_t size = n;
  std::vector<float> rows;
  const auto add = [&](const auto& value_of) {
    const std::vector<float> random = RandomFloats(size, n);
    for (size_t i = 0; i < size; ++i) rows.push_back(value_of(random[i]));
  };
  add([](float x) { return 10 * x; });
  add([](float x) { return 3 * x; });
  add([](float x) { return 0.1f * x - 5; });
  add([](float x) { return x > 0 ? 2.5f : -1.0f; });  // two values
  add([](float x) { return std::round(x); });         // a few, -0 among them
  add([](float) { return -7.0f; });
  add([](float x) { return x > 1 ? 3e38f : -3e38f; });
  return rows;
}

// What to draw by, alone and together. top_k is beside kFewTokens, and beside
// `n`.
std::vector<TokenDraw> AwkwardDraws(int n) {
  std::vector<TokenDraw> draws;
  for (const float temperature : {0.0f, 0.01f, 1.0f, 3.0f}) {
    draws.push_back({.temperature = temperature});
  }
  for (const int top_k : {1, 2, 40, 64, 65, 200, n - 1, n, n + 1}) {
    if (top_k == 0) continue;
    draws.push_back({.top_k = top_k});
    draws.push_back({.temperature = 2.0f, .top_k = top_k, .top_p = 0.9f});
    draws.push_back({.top_k = top_k, .top_p = 0.999f, .min_p = 0.01f});
  }
  for (const float top_p : {1e-6f, 0.3f, 0.9f, 0.99f, 0.9999999f}) {
    draws.push_back({.top_p = top_p});
    draws.push_back({.temperature = 0.5f, .top_p = top_p, .min_p = 0.02f});
    draws.push_back({.temperature = 5.0f, .top_p = top_p, .min_p = 0.9f});
  }
  for (const float min_p : {1e-6f, 0.1f, 1.0f}) {
    draws.push_back({.min_p = min_p});
  }
  return draws;
}

// Each of `methods` on up to `some` of `rows` rows, with a seed of its own.
std::vector<TokenDraw> OnSomeRows(const std::vector<TokenDraw>& methods,
                                  int some, int rows) {
  std::vector<TokenDraw> draws;
  for (const TokenDraw& method : methods) {
    for (int i = 0; i < std::min(some, rows); ++i) {
      TokenDraw draw = method;
      draw.row = static_cast<int32_t>(draws.size()) * 5 % rows;
      draw.seed = 1000000007 * draws.size();
      draw.index = i * 1000;
      draws.push_back(draw);
    }
  }
  return draws;
}

void ExpectSameTokens(std::span<const int32_t> got,
                      std::span<const int32_t> want,
                      std::span<const TokenDraw> draws, int n) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < draws.size(); ++i) {
    ASSERT_EQ(got[i], want[i])
        << "of " << n << ", row " << draws[i].row << ", temperature "
        << draws[i].temperature << ", top_k " << draws[i].top_k << ", top_p "
        << draws[i].top_p << ", min_p " << draws[i].min_p;
  }
}

TEST_P(BackendConformanceTest, DrawsAreTheReferences) {
  for (const int n : {1, 2, 63, 64, 65, 129, 1000, 2049}) {
    const std::vector<float> x = AwkwardRows(n);
    const int rows = static_cast<int>(x.size()) / n;
    const std::vector<TokenDraw> draws =
        OnSomeRows(AwkwardDraws(n), GetParam().max_draw_rows, rows);
    const std::vector<int32_t> want = Sample(*reference_, x, n, draws);
    ExpectSameTokens(Sample(*backend_, x, n, draws), want, draws, n);
    // One of them by itself.
    const size_t some = draws.size() / 2;
    EXPECT_EQ(Sample(*backend_, x, n, std::span(draws).subspan(some, 1))[0],
              want[some]);
  }
}

TEST_P(BackendConformanceTest, DrawsFromALargeVocabularyAreTheReferences) {
  constexpr int kVocab = 70001;  // 1094 blocks
  std::vector<float> x = RandomFloats(kVocab, 1);
  for (float& logit : x) logit = 2 * std::round(100 * logit) / 100;
  const std::vector<TokenDraw> methods = {
      {.temperature = 0}, {},
      {.top_k = 50},      {.top_k = 3000, .top_p = 0.8f},
      {.top_p = 0.01f},   {.top_p = 0.9f},
      {.min_p = 0.3f},    {.temperature = 20, .top_p = 0.5f, .min_p = 0.9f}};
  const std::vector<TokenDraw> draws = OnSomeRows(methods, 1, 1);
  ExpectSameTokens(Sample(*backend_, x, kVocab, draws),
                   Sample(*reference_, x, kVocab, draws), draws, kVocab);
}

}  // namespace
}  // namespace anyprec
