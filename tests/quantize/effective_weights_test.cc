#include "quantize/effective_weights.h"

#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

std::vector<double> Effective(const std::vector<float>& weights, size_t k) {
  std::vector<double> effective(k);
  EffectiveSampleWeights(weights, effective);
  return effective;
}

TEST(EffectiveSampleWeightsTest, HaveAMeanOfOneAndAFloor) {
  EXPECT_EQ(Effective({0, 2, 6, 0}, 4),
            (std::vector<double>{1e-6, 1, 3, 1e-6}));
}

TEST(EffectiveSampleWeightsTest, AreOneWhereThereAreNoneOrAllAreZero) {
  EXPECT_EQ(Effective({}, 3), (std::vector<double>{1, 1, 1}));
  EXPECT_EQ(Effective({0, 0}, 2), (std::vector<double>{1, 1}));
}

}  // namespace
}  // namespace anyprec
