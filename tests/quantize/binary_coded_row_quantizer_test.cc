#include "quantize/binary_coded_row_quantizer.h"

#include <cstdint>
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
  std::vector<Float16> stored;
  RowError error;
};

RowFormat Format(const PrecisionRange& range, int group_size) {
  return {
      .range = range, .scheme = Scheme::kBinaryCoded, .group_size = group_size};
}

Result Quantize(const RowFormat& format, const RandomRow& row) {
  Result result;
  result.codes.resize(row.values.size());
  result.stored.resize(
      format.ValuesPerRow(static_cast<int>(row.values.size())));
  result.error = BinaryCodedRowQuantizer(format.range, format.group_size)
                     .Quantize(row.values, row.sample_weights, result.codes,
                               result.stored);
  return result;
}

// The weight of a column, with the scales where Fields() has them.
double Weight(const Result& result, const RowFormat& format, int precision,
              int column) {
  const int k = static_cast<int>(result.codes.size());
  const size_t groups = GroupCount(k, format.group_size);
  std::span<const Float16> stored = result.stored;
  for (int p = format.range.seed_bits; p < precision; ++p) {
    stored = stored.subspan(groups * (p + 1));
  }
  const size_t group = column / format.group_size;
  return BinaryCodedWeight(
      result.codes[column] >> (format.range.parent_bits - precision),
      stored.subspan(group * precision, precision),
      stored[groups * precision + group]);
}

TEST(BinaryCodedRowQuantizerTest, ReportsTheErrorOfTheStoredScales) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 30; ++trial) {
    const RowFormat format = Format({2, 2 + trial % 7}, 32 * (1 + trial % 5));
    // The last group has fewer columns, or the only one.
    const RandomRow row = MakeRandomRow(trial % kRowKinds, 128 + 32, random);
    const Result result = Quantize(format, row);
    std::vector<double> weights(row.values.size());
    EffectiveSampleWeights(row.sample_weights, weights);
    double norm = 0;
    for (size_t i = 0; i < row.values.size(); ++i) {
      norm += weights[i] * row.values[i] * row.values[i];
    }
    EXPECT_NEAR(result.error.squared_norm, norm, 1e-9 * norm);
    for (int p = 2; p <= format.range.parent_bits; ++p) {
      double squared_error = 0;
      for (size_t i = 0; i < row.values.size(); ++i) {
        const double error =
            row.values[i] - Weight(result, format, p, static_cast<int>(i));
        squared_error += weights[i] * error * error;
      }
      EXPECT_NEAR(result.error.squared_error[p - 2], squared_error,
                  1e-9 * squared_error);
      if (p > 2) {
        EXPECT_LE(result.error.squared_error[p - 2],
                  result.error.squared_error[p - 3]);
      }
    }
  }
}

TEST(BinaryCodedRowQuantizerTest, FurtherBitsLeaveLowerPrecisionsUntouched) {
  std::mt19937 random(2);
  for (int kind = 0; kind < kRowKinds; ++kind) {
    const RandomRow row = MakeRandomRow(kind, 320, random);
    const Result small = Quantize(Format({2, 4}, 128), row);
    const Result large = Quantize(Format({2, 8}, 128), row);
    for (size_t i = 0; i < row.values.size(); ++i) {
      EXPECT_EQ(small.codes[i], large.codes[i] >> 4);
    }
    for (size_t i = 0; i < small.stored.size(); ++i) {
      EXPECT_EQ(small.stored[i].bits, large.stored[i].bits);
    }
  }
}

TEST(BinaryCodedRowQuantizerTest, NoWeightsAndNoneButZerosAreTheSame) {
  std::mt19937 random(3);
  RandomRow row = MakeRandomRow(3, 96, random);  // all zero
  const Result zeros = Quantize(Format({2, 4}, 64), row);
  row.sample_weights.clear();
  const Result none = Quantize(Format({2, 4}, 64), row);
  EXPECT_EQ(zeros.codes, none.codes);
  EXPECT_EQ(zeros.error.squared_error, none.error.squared_error);
}

TEST(BinaryCodedRowQuantizerTest, DoesNotDependOnTheRowBefore) {
  std::mt19937 random(4);
  const RowFormat format = Format({2, 5}, 64);
  BinaryCodedRowQuantizer reused(format.range, format.group_size);
  for (int trial = 0; trial < 20; ++trial) {
    const RandomRow row =
        MakeRandomRow(trial % kRowKinds, trial % 2 == 0 ? 320 : 96, random);
    const Result fresh = Quantize(format, row);
    Result again = fresh;
    reused.Quantize(row.values, row.sample_weights, again.codes, again.stored);
    EXPECT_EQ(again.codes, fresh.codes);
    for (size_t i = 0; i < fresh.stored.size(); ++i) {
      EXPECT_EQ(again.stored[i].bits, fresh.stored[i].bits);
    }
  }
}

}  // namespace
}  // namespace anyprec
