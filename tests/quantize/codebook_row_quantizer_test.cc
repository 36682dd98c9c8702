#include "quantize/codebook_row_quantizer.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bit_plane.h"
#include "kernels/types.h"
#include "quantize/effective_weights.h"
#include "quantize/row_quantizer.h"
#include "tests/quantize/random_rows.h"

namespace anyprec {
namespace {

struct Result {
  std::vector<uint8_t> codes;
  std::vector<Float16> codebooks;
  RowError error;
};

Result Quantize(const PrecisionRange& range, const RandomRow& row) {
  Result result;
  result.codes.resize(row.values.size());
  result.codebooks.resize(RowFormat{.range = range}.ValuesPerRow(
      static_cast<int>(row.values.size())));
  result.error = CodebookRowQuantizer(range).Quantize(
      row.values, row.sample_weights, result.codes, result.codebooks);
  return result;
}

// Where the centroids of a precision begin: behind 2^seed + ... of those below.
size_t CentroidOffset(const PrecisionRange& range, int precision) {
  return (size_t{1} << precision) - (size_t{1} << range.seed_bits);
}

float Centroid(const Result& result, const PrecisionRange& range, int precision,
               size_t column) {
  const int code = result.codes[column] >> (range.parent_bits - precision);
  return ToFloat(result.codebooks[CentroidOffset(range, precision) + code]);
}

std::vector<double> EffectiveWeights(const std::vector<float>& weights) {
  std::vector<double> effective(weights.size());
  EffectiveSampleWeights(weights, effective);
  return effective;
}

TEST(CodebookRowQuantizerTest, CentroidsAreTheWeightedMeansOfTheirColumns) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 60; ++trial) {
    const PrecisionRange range = {2 + trial % 3, 4 + trial % 5};
    const RandomRow row = MakeRandomRow(trial % kRowKinds, 200, random);
    const Result result = Quantize(range, row);
    const std::vector<double> weights = EffectiveWeights(row.sample_weights);
    for (int p = range.seed_bits; p <= range.parent_bits; ++p) {
      std::map<int, std::pair<double, double>> sums;  // by code: w, w * x
      for (size_t i = 0; i < row.values.size(); ++i) {
        auto& sum = sums[result.codes[i] >> (range.parent_bits - p)];
        sum.first += weights[i];
        sum.second += weights[i] * row.values[i];
      }
      for (const auto& [code, sum] : sums) {
        const float mean = static_cast<float>(sum.second / sum.first);
        const float centroid =
            ToFloat(result.codebooks[CentroidOffset(range, p) + code]);
        // Half an ulp of fp16, and the double sum's order.
        EXPECT_NEAR(centroid, mean, 0x1p-11 * std::abs(mean) + 1e-7);
      }
    }
  }
}

TEST(CodebookRowQuantizerTest, ReportsTheErrorOfTheStoredCodebooks) {
  std::mt19937 random(2);
  for (int trial = 0; trial < 30; ++trial) {
    const PrecisionRange range = {3, 8};
    const RandomRow row = MakeRandomRow(trial % kRowKinds, 300, random);
    const Result result = Quantize(range, row);
    const std::vector<double> weights = EffectiveWeights(row.sample_weights);
    double norm = 0;
    for (size_t i = 0; i < row.values.size(); ++i) {
      norm += weights[i] * row.values[i] * row.values[i];
    }
    EXPECT_NEAR(result.error.squared_norm, norm, 1e-9 * norm);
    for (int p = 3; p <= 8; ++p) {
      double squared_error = 0;
      for (size_t i = 0; i < row.values.size(); ++i) {
        const double error =
            static_cast<double>(row.values[i]) - Centroid(result, range, p, i);
        squared_error += weights[i] * error * error;
      }
      EXPECT_NEAR(result.error.squared_error[p - 3], squared_error,
                  1e-9 * squared_error);
    }
  }
}

TEST(CodebookRowQuantizerTest, ErrorNeverIncreasesWithThePrecision) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 60; ++trial) {
    const PrecisionRange range = {2, 8};
    const RandomRow row =
        MakeRandomRow(trial % kRowKinds, 32 + 16 * trial, random);
    const Result result = Quantize(range, row);
    for (int i = 1; i < range.count(); ++i) {
      EXPECT_LE(result.error.squared_error[i],
                result.error.squared_error[i - 1] * (1 + 1e-12));
    }
  }
}

TEST(CodebookRowQuantizerTest, UpscalingLeavesLowerPrecisionsUntouched) {
  std::mt19937 random(4);
  for (int kind = 0; kind < kRowKinds; ++kind) {
    const RandomRow row = MakeRandomRow(kind, 500, random);
    const Result small = Quantize({3, 5}, row);
    const Result large = Quantize({3, 8}, row);
    for (size_t i = 0; i < row.values.size(); ++i) {
      EXPECT_EQ(small.codes[i], large.codes[i] >> 3);
    }
    for (size_t i = 0; i < small.codebooks.size(); ++i) {
      EXPECT_EQ(small.codebooks[i].bits, large.codebooks[i].bits);
    }
  }
}

TEST(CodebookRowQuantizerTest, ReproducesARowOfFewDistinctFp16Values) {
  RandomRow row;
  for (int i = 0; i < 64; ++i) {
    row.values.push_back(0.5f * static_cast<float>(i % 7) - 1.0f);
    row.sample_weights.push_back(static_cast<float>(i % 3));
  }
  const PrecisionRange range = {3, 8};
  const Result result = Quantize(range, row);
  for (int p = 3; p <= 8; ++p) {
    EXPECT_EQ(result.error.squared_error[p - 3], 0.0);
    for (size_t i = 0; i < row.values.size(); ++i) {
      EXPECT_EQ(Centroid(result, range, p, i), row.values[i]);
    }
  }
}

TEST(CodebookRowQuantizerTest, DoesNotDependOnTheRowBefore) {
  std::mt19937 random(5);
  CodebookRowQuantizer reused({3, 6});
  for (int trial = 0; trial < 20; ++trial) {
    const RandomRow row =
        MakeRandomRow(trial % kRowKinds, trial % 2 == 0 ? 320 : 64, random);
    const Result fresh = Quantize({3, 6}, row);
    Result again = fresh;
    reused.Quantize(row.values, row.sample_weights, again.codes,
                    again.codebooks);
    EXPECT_EQ(again.codes, fresh.codes);
    for (size_t i = 0; i < fresh.codebooks.size(); ++i) {
      EXPECT_EQ(again.codebooks[i].bits, fresh.codebooks[i].bits);
    }
  }
}

TEST(CodebookRowQuantizerTest, OrderOfColumnsOnlyPermutesCodes) {
  std::mt19937 random(6);
  // Integer sample weights: their sums do not depend on the order.
  for (int trial = 0; trial < 10; ++trial) {
    RandomRow row = MakeRandomRow(trial % 2, 128, random);
    for (float& weight : row.sample_weights) weight = std::floor(4 * weight);
    RandomRow reversed = row;
    std::reverse(reversed.values.begin(), reversed.values.end());
    std::reverse(reversed.sample_weights.begin(),
                 reversed.sample_weights.end());
    const Result result = Quantize({3, 8}, row);
    Result mirror = Quantize({3, 8}, reversed);
    std::reverse(mirror.codes.begin(), mirror.codes.end());
    EXPECT_EQ(result.codes, mirror.codes);
  }
}

}  // namespace
}  // namespace anyprec
