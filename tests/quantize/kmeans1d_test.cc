#include "quantize/kmeans1d.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "quantize/sorted_row.h"
#include "tests/quantize/random_rows.h"

namespace anyprec {
namespace {

double Inertia(const SortedRow& row, const std::vector<int32_t>& boundaries) {
  double sum = 0;
  for (size_t c = 0; c + 1 < boundaries.size(); ++c) {
    if (boundaries[c] == boundaries[c + 1]) continue;
    sum += row.SquaredError(boundaries[c], boundaries[c + 1],
                            row.Mean(boundaries[c], boundaries[c + 1]));
  }
  return sum;
}

// The least inertia over all partitions of [begin, size) into `clusters` runs.
double LeastInertia(const SortedRow& row, int begin, int clusters) {
  const int m = row.size();
  if (clusters == 1) return row.SquaredError(begin, m, row.Mean(begin, m));
  double best = std::numeric_limits<double>::infinity();
  for (int end = begin + 1; end <= m - clusters + 1; ++end) {
    best = std::min(best, row.SquaredError(begin, end, row.Mean(begin, end)) +
                              LeastInertia(row, end, clusters - 1));
  }
  return best;
}

// The same optimum by the textbook recurrence in O(clusters m^2).
double LeastInertiaQuadratic(const SortedRow& row, int clusters) {
  const int m = row.size();
  std::vector<double> best(m + 1, -1.0);
  for (int end = 1; end <= m; ++end) best[end] = row.Gain(0, end);
  for (int c = 1; c < clusters; ++c) {
    std::vector<double> next(m + 1, -1.0);
    for (int end = c + 1; end <= m; ++end) {
      for (int start = c; start < end; ++start) {
        next[end] = std::max(next[end], best[start] + row.Gain(start, end));
      }
    }
    best = next;
  }
  return row.SquaredError(0, m, row.Mean(0, m)) - best[m];
}

TEST(KMeans1dTest, FindsTheBestOfAllPartitions) {
  std::mt19937 random(1);
  SortedRow row;
  KMeans1d kmeans;
  for (int trial = 0; trial < 600; ++trial) {
    const int k = 1 + trial % 11;
    const RandomRow source = MakeRandomRow(trial % kRowKinds, k, random);
    row.Assign(source.values, source.sample_weights);
    for (int clusters = 1; clusters <= std::min(row.size(), 6); ++clusters) {
      std::vector<int32_t> boundaries(clusters + 1);
      kmeans.Partition(row, clusters, boundaries);
      const double whole = LeastInertia(row, 0, 1);
      // Ties and rounding: the optimum is unique in value only.
      EXPECT_NEAR(Inertia(row, boundaries), LeastInertia(row, 0, clusters),
                  1e-12 * whole)
          << "trial " << trial << ", " << clusters << " clusters";
    }
  }
}

TEST(KMeans1dTest, AgreesWithTheQuadraticRecurrenceOnLongRows) {
  std::mt19937 random(2);
  SortedRow row;
  KMeans1d kmeans;
  for (int trial = 0; trial < 60; ++trial) {
    const RandomRow source =
        MakeRandomRow(trial % kRowKinds, 33 + 7 * trial, random);
    row.Assign(source.values, source.sample_weights);
    for (const int clusters : {2, 4, 8, 16}) {
      if (clusters >= row.size()) continue;
      std::vector<int32_t> boundaries(clusters + 1);
      kmeans.Partition(row, clusters, boundaries);
      const double whole =
          row.SquaredError(0, row.size(), row.Mean(0, row.size()));
      EXPECT_NEAR(Inertia(row, boundaries),
                  LeastInertiaQuadratic(row, clusters), 1e-11 * whole)
          << "trial " << trial << ", " << clusters << " clusters";
    }
  }
}

TEST(KMeans1dTest, LeavesNoClusterEmptyWhereValuesSuffice) {
  std::mt19937 random(3);
  SortedRow row;
  KMeans1d kmeans;
  for (int trial = 0; trial < 100; ++trial) {
    const RandomRow source = MakeRandomRow(trial % kRowKinds, 300, random);
    row.Assign(source.values, source.sample_weights);
    for (const int clusters : {1, 4, 5, 256}) {
      if (clusters > row.size()) continue;
      std::vector<int32_t> boundaries(clusters + 1);
      kmeans.Partition(row, clusters, boundaries);
      EXPECT_EQ(boundaries.front(), 0);
      EXPECT_EQ(boundaries.back(), row.size());
      for (int c = 0; c < clusters; ++c) {
        EXPECT_LT(boundaries[c], boundaries[c + 1]);
      }
    }
  }
}

TEST(KMeans1dTest, GivesEveryValueItsOwnClusterWhereThereAreFew) {
  SortedRow row;
  row.Assign(std::vector<float>{3, 1, 3, 2}, {});
  std::vector<int32_t> boundaries(9);
  KMeans1d().Partition(row, 8, boundaries);
  EXPECT_EQ(boundaries, (std::vector<int32_t>{0, 1, 2, 3, 3, 3, 3, 3, 3}));
}

TEST(KMeans1dTest, GivesTheSameOnEveryInstructionSet) {
  std::mt19937 random(4);
  std::vector<SortedRow> rows(30);
  for (size_t i = 0; i < rows.size(); ++i) {
    const RandomRow source =
        MakeRandomRow(static_cast<int>(i) % kRowKinds, 700, random);
    rows[i].Assign(source.values, source.sample_weights);
  }
  std::vector<std::vector<int32_t>> first;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    std::vector<std::vector<int32_t>> results;
    for (const SortedRow& row : rows) {
      results.emplace_back(9);
      KMeans1d().Partition(row, 8, results.back());
    }
    if (first.empty()) first = results;
    EXPECT_EQ(results, first) << hwy::TargetName(target);
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace
}  // namespace anyprec
