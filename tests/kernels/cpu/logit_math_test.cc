#include "kernels/cpu/logit_math.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "kernels/sampling.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int kSizes[] = {1, 3, 63, 64, 65, 127, 1000, 49152};

// Runs `test` on every instruction set of this machine.
template <typename Test>
void OnEveryTarget(const Test& test) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    test();
  }
  hwy::SetSupportedTargetsForTest(0);
}

std::vector<float> RandomLogits(int size, float spread) {
  std::vector<float> logits = RandomFloats(size, size);
  for (float& logit : logits) logit *= spread;
  return logits;
}

TEST(LogitMathTest, BlockMaximaAgreeWithPlainLoopsAtAwkwardSizes) {
  OnEveryTarget([] {
    for (const int size : kSizes) {
      const std::vector<float> logits = RandomLogits(size, 3);
      std::vector<float> maxima;
      ASSERT_TRUE(BlockMaxima(logits, maxima));
      ASSERT_EQ(maxima.size(), (size + kLogitBlock - 1) / kLogitBlock);
      for (size_t b = 0; b < maxima.size(); ++b) {
        const auto begin = logits.begin() + b * kLogitBlock;
        const auto end =
            logits.begin() + std::min<size_t>(size, (b + 1) * kLogitBlock);
        EXPECT_EQ(maxima[b], *std::max_element(begin, end));
      }
      EXPECT_EQ(Largest(maxima),
                *std::max_element(logits.begin(), logits.end()));
    }
  });
}

TEST(LogitMathTest, FindsWhatIsNotFiniteAnywhere) {
  OnEveryTarget([] {
    for (const int place : {0, 63, 64, 700, 960, 999}) {
      for (const float value : {kNaN, kInfinity, -kInfinity}) {
        std::vector<float> logits = RandomLogits(1000, 3);
        logits[place] = value;
        std::vector<float> maxima;
        EXPECT_FALSE(BlockMaxima(logits, maxima)) << value << " at " << place;
      }
    }
  });
}

// To half a unit, and to what the polynomial is off (sampling.h).
TEST(LogitMathTest, WeightsAreExponentials) {
  for (const float temperature : {0.3f, 1.0f, 2.0f}) {
    const WeightScale scale = {5.0f, ScaleOf(temperature)};
    EXPECT_EQ(WeightOf(5.0f, scale), kWeightOne);
    for (float logit = -20; logit < 5; logit += 0.001f) {
      // The exponent is rounded twice, to 2^-24 of itself.
      const double x = (logit - 5.0) / temperature;
      const double exact = std::exp(x) * kWeightOne;
      EXPECT_NEAR(WeightOf(logit, scale), exact,
                  0.5 + (5e-7 + 1.2e-7 * std::abs(x)) * exact)
          << logit << " at " << temperature;
    }
  }
}

TEST(LogitMathTest, WeightsOfFarLogitsAreZero) {
  for (const float temperature : {1e-4f, 1.0f, 100.0f}) {
    const WeightScale scale = {3e38f, ScaleOf(temperature)};
    EXPECT_EQ(WeightOf(3e38f, scale), kWeightOne);
    EXPECT_EQ(WeightOf(-3e38f, scale), 0u);
    EXPECT_EQ(WeightOf(0, scale), 0u);
  }
}

TEST(LogitMathTest, EveryInstructionSetGivesTheSameWeights) {
  for (const int size : kSizes) {
    for (const float spread : {0.0f, 0.1f, 3.0f, 30.0f, 1e37f}) {
      const std::vector<float> logits = RandomLogits(size, spread);
      const float max = *std::max_element(logits.begin(), logits.end());
      for (const float temperature : {1e-4f, 0.7f, 1.0f, 100.0f}) {
        const WeightScale scale = {max, ScaleOf(temperature)};
        std::vector<uint32_t> want;
        for (const float logit : logits) {
          want.push_back(WeightOf(logit, scale));
        }
        OnEveryTarget([&] {
          std::vector<uint32_t> weights;
          Weights(logits, scale, weights);
          EXPECT_EQ(weights, want) << size << " by " << spread;
        });
      }
    }
  }
}

TEST(LogitMathTest, SumsOfWeightsAreExact) {
  for (const int size : kSizes) {
    for (const float spread : {0.0f, 0.1f, 3.0f, 30.0f}) {
      const std::vector<float> logits = RandomLogits(size, spread);
      const float max = *std::max_element(logits.begin(), logits.end());
      const WeightScale scale = {max, ScaleOf(0.7f)};
      for (const float threshold : {-kInfinity, -1.0f, logits[0], max}) {
        uint64_t want = 0;
        for (const float logit : logits) {
          if (logit > threshold) want += WeightOf(logit, scale);
        }
        OnEveryTarget([&] {
          std::vector<float> maxima;
          ASSERT_TRUE(BlockMaxima(logits, maxima));
          EXPECT_EQ(WeightAbove(logits, maxima, scale, threshold), want)
              << size << " by " << spread << " above " << threshold;
        });
      }
    }
  }
}

}  // namespace
}  // namespace anyprec
