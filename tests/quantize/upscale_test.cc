#include "quantize/upscale.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "quantize/sorted_row.h"
#include "tests/quantize/random_rows.h"

namespace anyprec {
namespace {

double Inertia(const SortedRow& row, int begin, int end) {
  return begin == end ? 0.0
                      : row.SquaredError(begin, end, row.Mean(begin, end));
}

TEST(UpscaleTest, SplitsEveryClusterAtTheBestPlace) {
  std::mt19937 random(1);
  SortedRow row;
  for (int trial = 0; trial < 300; ++trial) {
    const RandomRow source =
        MakeRandomRow(trial % kRowKinds, 2 + trial % 50, random);
    row.Assign(source.values, source.sample_weights);
    const int m = row.size();
    const std::vector<int32_t> boundaries = {0, m / 3, m / 3, m};
    std::vector<int32_t> children(7);
    SplitClusters(row, boundaries, children);
    for (int c = 0; c < 3; ++c) {
      const int begin = boundaries[c];
      const int end = boundaries[c + 1];
      double best = Inertia(row, begin, end);
      for (int split = begin + 1; split < end; ++split) {
        best = std::min(best,
                        Inertia(row, begin, split) + Inertia(row, split, end));
      }
      const int split = children[2 * c + 1];
      EXPECT_NEAR(Inertia(row, begin, split) + Inertia(row, split, end), best,
                  1e-12 * Inertia(row, 0, m))
          << "trial " << trial << ", cluster " << c;
    }
  }
}

TEST(UpscaleTest, ChildBoundariesContainTheParents) {
  std::mt19937 random(2);
  SortedRow row;
  for (int kind = 0; kind < kRowKinds; ++kind) {
    const RandomRow source = MakeRandomRow(kind, 64, random);
    row.Assign(source.values, source.sample_weights);
    std::vector<int32_t> parents = {0, row.size()};
    for (int level = 0; level < 8; ++level) {
      std::vector<int32_t> children(2 * parents.size() - 1);
      SplitClusters(row, parents, children);
      for (size_t c = 0; c < parents.size(); ++c) {
        EXPECT_EQ(children[2 * c], parents[c]);
      }
      EXPECT_TRUE(std::is_sorted(children.begin(), children.end()));
      parents = children;
    }
  }
}

TEST(UpscaleTest, PutsALoneValueLeftAndLetsBothChildrenInherit) {
  SortedRow row;
  row.Assign(std::vector<float>{1, 5}, {});
  const std::vector<int32_t> boundaries = {0, 1, 2, 2, 2};
  std::vector<double> centroids(4);
  ComputeCentroids(row, boundaries, {}, centroids);
  EXPECT_EQ(centroids, (std::vector<double>{1, 5, 5, 5}));
  std::vector<int32_t> children(9);
  SplitClusters(row, boundaries, children);
  EXPECT_EQ(children, (std::vector<int32_t>{0, 1, 1, 2, 2, 2, 2, 2, 2}));
  std::vector<double> child_centroids(8);
  ComputeCentroids(row, children, centroids, child_centroids);
  EXPECT_EQ(child_centroids, (std::vector<double>{1, 1, 5, 5, 5, 5, 5, 5}));
}

}  // namespace
}  // namespace anyprec
