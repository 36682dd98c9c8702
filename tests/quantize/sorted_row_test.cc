#include "quantize/sorted_row.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/quantize/random_rows.h"

namespace anyprec {
namespace {

TEST(SortedRowTest, HoldsDistinctValuesAscendingAndRanksEveryColumn) {
  std::mt19937 random(1);
  SortedRow row;
  for (int kind = 0; kind < kRowKinds; ++kind) {
    for (const size_t k : {1, 2, 31, 300, 1000}) {
      const RandomRow source = MakeRandomRow(kind, k, random);
      row.Assign(source.values, source.sample_weights);
      const std::vector<float> values(row.values().begin(), row.values().end());
      for (size_t i = 1; i < values.size(); ++i) {
        EXPECT_LT(values[i - 1], values[i]);
      }
      ASSERT_EQ(row.ranks().size(), k);
      for (size_t i = 0; i < k; ++i) {
        EXPECT_EQ(values[row.ranks()[i]], source.values[i]);
      }
    }
  }
}

TEST(SortedRowTest, OrdersExtremesOfFloat) {
  const std::vector<float> values = {3.4e38f, -0.0f,   1e-45f, -3.4e38f,
                                     0.0f,    -1e-45f, 1.0f,   -1.0f};
  SortedRow row;
  row.Assign(values, {});
  const std::vector<float> sorted(row.values().begin(), row.values().end());
  EXPECT_EQ(sorted, (std::vector<float>{-3.4e38f, -1.0f, -1e-45f, 0.0f, 1e-45f,
                                        1.0f, 3.4e38f}));
}

TEST(SortedRowTest, AddsTheWeightsOfEqualValues) {
  const std::vector<float> values = {2, 1, 2, 2};
  const std::vector<float> weights = {1, 4, 2, 5};  // mean 3
  SortedRow row;
  row.Assign(values, weights);
  ASSERT_EQ(row.size(), 2);
  EXPECT_DOUBLE_EQ(row.weights()[0], 4.0 / 3.0);
  EXPECT_DOUBLE_EQ(row.weights()[1], 8.0 / 3.0);
}

TEST(SortedRowTest, TreatsAllZeroWeightsAsUnweighted) {
  const std::vector<float> values = {3, 1, 2};
  SortedRow row;
  row.Assign(values, std::vector<float>(3, 0.0f));
  for (const double weight : row.weights()) EXPECT_EQ(weight, 1.0);
  EXPECT_EQ(row.Mean(0, 3), 2.0);
}

TEST(SortedRowTest, KeepsTheMeanInsideTheRun) {
  // Weights whose spread exceeds what a double sum resolves.
  const std::vector<float> values = {1.0f, std::nextafter(1.0f, 2.0f), 5.0f};
  const std::vector<float> weights = {1e-30f, 1e-30f, 1e30f};
  SortedRow row;
  row.Assign(values, weights);
  EXPECT_GE(row.Mean(0, 2), values[0]);
  EXPECT_LE(row.Mean(0, 2), values[1]);
}

TEST(SortedRowTest, GainsDifferFromInertiaByAConstant) {
  std::mt19937 random(2);
  SortedRow row;
  for (int kind = 0; kind < kRowKinds; ++kind) {
    const RandomRow source = MakeRandomRow(kind, 40, random);
    row.Assign(source.values, source.sample_weights);
    const int m = row.size();
    const double whole = row.SquaredError(0, m, row.Mean(0, m));
    for (int split = 1; split < m; ++split) {
      const double inertia = row.SquaredError(0, split, row.Mean(0, split)) +
                             row.SquaredError(split, m, row.Mean(split, m));
      // Rounding of sums over 40 terms.
      EXPECT_NEAR(whole - row.Gain(0, split) - row.Gain(split, m), inertia,
                  1e-12 * whole);
    }
  }
}

}  // namespace
}  // namespace anyprec
