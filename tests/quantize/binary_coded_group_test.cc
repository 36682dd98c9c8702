#include "quantize/binary_coded_group.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bit_plane.h"
#include "quantize/normal_equations.h"
#include "tests/quantize/random_rows.h"

namespace anyprec {
namespace {

struct Group {
  std::vector<float> values;
  std::vector<double> weights;
};

Group Unweighted(std::vector<float> values) {
  const size_t size = values.size();
  return {std::move(values), std::vector<double>(size, 1.0)};
}

Group RandomGroup(int kind, size_t size, std::mt19937& random) {
  const RandomRow row = MakeRandomRow(kind, size, random);
  Group group;
  group.values = row.values;
  for (const float weight : row.sample_weights) {
    group.weights.push_back(weight + 1e-6);
  }
  return group;
}

double Weight(const BinaryCodedGroup& group, size_t column) {
  return BinaryCodedWeight(group.codes()[column], group.alpha(), group.beta());
}

double SquaredError(const BinaryCodedGroup& coded, const Group& group) {
  double sum = 0;
  for (size_t i = 0; i < group.values.size(); ++i) {
    const double error = group.values[i] - Weight(coded, i);
    sum += group.weights[i] * error * error;
  }
  return sum;
}

// The least error of all codes of two bits, each with the scales that suit it
// best, before these are rounded.
double BestOfAllCodes(const Group& group) {
  const size_t size = group.values.size();
  double best = std::numeric_limits<double>::infinity();
  for (int codes = 0; codes < 1 << (2 * size); ++codes) {
    UnknownMatrix gram = {};
    UnknownVector right = {};
    double norm = 0;
    for (size_t i = 0; i < size; ++i) {
      const int code = codes >> (2 * i);
      const double signs[] = {1, code & 2 ? 1.0 : -1.0, code & 1 ? 1.0 : -1.0};
      const double weight = group.weights[i], value = group.values[i];
      for (int row = 0; row < 3; ++row) {
        for (int column = 0; column < 3; ++column) {
          gram[row][column] += weight * signs[row] * signs[column];
        }
        right[row] += weight * signs[row] * value;
      }
      norm += weight * value * value;
    }
    const UnknownVector x = SolveNormalEquations(3, gram, right);
    for (int row = 0; row < 3; ++row) norm -= x[row] * right[row];
    best = std::min(best, norm);
  }
  return best;
}

TEST(BinaryCodedGroupTest, RecoversAGroupMadeOfScalesAndSigns) {
  std::mt19937 random(1);
  for (int bits = 2; bits <= 4; ++bits) {
    // Far enough apart that every code has values of its own.
    const std::vector<float> alpha = {2.0f, 0.75f, 0.25f, 0.09375f};
    Group group;
    for (int i = 0; i < 128; ++i) {
      float value = 0.5f;
      for (int bit = 0; bit < bits; ++bit) {
        value += random() % 2 == 0 ? alpha[bit] : -alpha[bit];
      }
      group.values.push_back(value);
      group.weights.push_back(0.01 + 0.01 * static_cast<double>(random() % 99));
    }
    BinaryCodedGroup coded;
    coded.Assign(group.values, group.weights);
    coded.Seed(bits);
    EXPECT_EQ(coded.squared_error(), 0) << bits;
    EXPECT_EQ(ToFloat(coded.beta()), 0.5f);
    for (int bit = 0; bit < bits; ++bit) {
      EXPECT_EQ(ToFloat(coded.alpha()[bit]), alpha[bit]);
    }
    coded.AddBit();
    EXPECT_EQ(coded.squared_error(), 0);
  }
}

TEST(BinaryCodedGroupTest, ErrorIsThatOfTheStoredScalesAndNeverGrows) {
  std::mt19937 random(2);
  for (int trial = 0; trial < 120; ++trial) {
    const Group group = RandomGroup(trial % kRowKinds, 1 + trial, random);
    BinaryCodedGroup coded;
    coded.Assign(group.values, group.weights);
    coded.Seed(2 + trial % 3);
    double previous = std::numeric_limits<double>::infinity();
    while (true) {
      EXPECT_NEAR(coded.squared_error(), SquaredError(coded, group),
                  1e-12 * coded.squared_error());
      EXPECT_LE(coded.squared_error(), previous) << coded.bits() << " bits";
      if (coded.bits() == kMaxBits) break;
      previous = coded.squared_error();
      const std::vector<uint8_t> codes(coded.codes().begin(),
                                       coded.codes().end());
      coded.AddBit();
      for (size_t i = 0; i < codes.size(); ++i) {
        EXPECT_EQ(coded.codes()[i] >> 1, codes[i]);
      }
    }
  }
}

TEST(BinaryCodedGroupTest, EachBitOfNormalWeightsTakesItsShareOfTheError) {
  std::mt19937 random(3);
  std::vector<double> error(kMaxBits + 1);
  for (int trial = 0; trial < 20; ++trial) {
    const Group group = RandomGroup(0, 128, random);
    BinaryCodedGroup coded;
    coded.Assign(group.values, group.weights);
    for (int bits = 2; bits <= kMaxBits; ++bits) {
      bits == 2 ? coded.Seed(2) : coded.AddBit();
      error[bits] += coded.squared_error();
    }
  }
  // A bit halves the distance of levels, at best: a quarter of the error.
  for (int bits = 3; bits <= kMaxBits; ++bits) {
    EXPECT_LT(error[bits], 0.5 * error[bits - 1]) << bits;
  }
}

// Every move of one scale by a unit in the last place, in either direction.
TEST(BinaryCodedGroupTest, ScalesAreTheWeightedLeastSquaresOfTheCodes) {
  std::mt19937 random(4);
  for (int trial = 0; trial < 40; ++trial) {
    const Group group = RandomGroup(trial % 2 == 0 ? 0 : 4, 64, random);
    BinaryCodedGroup coded;
    coded.Assign(group.values, group.weights);
    coded.Seed(2);
    if (trial % 3 == 0) coded.AddBit();
    const double norm = coded.squared_error();
    const auto error_with = [&](int bit, double step) {
      double sum = 0;
      for (size_t i = 0; i < group.values.size(); ++i) {
        const int code = coded.codes()[i];
        const bool one = bit < 0 || (code >> (coded.bits() - 1 - bit) & 1) != 0;
        const double error =
            group.values[i] - Weight(coded, i) - (one ? step : -step);
        sum += group.weights[i] * error * error;
      }
      return sum;
    };
    for (int bit = -1; bit < coded.bits(); ++bit) {
      for (const double step : {-2e-3, 2e-3}) {
        EXPECT_GT(error_with(bit, step), norm)
            << "trial " << trial << ", scale " << bit;
      }
    }
  }
}

// Few enough columns to try all codes: none do better, and alternation, which
// ends in a local optimum, is not far from them.
TEST(BinaryCodedGroupTest, TinyGroupsComeNearTheBestOfAllCodes) {
  std::mt19937 random(5);
  double found = 0, best = 0;
  for (int trial = 0; trial < 60; ++trial) {
    const Group group = RandomGroup(trial % 2 == 0 ? 0 : 4, 7, random);
    double weight = 0;
    for (const double w : group.weights) weight += w;
    BinaryCodedGroup coded;
    coded.Assign(group.values, group.weights);
    coded.Seed(2);
    const double least = BestOfAllCodes(group) / weight;
    const double own = coded.squared_error() / weight;
    EXPECT_GE(own, least - 1e-12);
    found += std::sqrt(own);
    best += std::sqrt(std::max(least, 0.0));
  }
  EXPECT_LT(found, 1.1 * best);
}

TEST(BinaryCodedGroupTest, WeightsDecideWhichColumnsAreRight) {
  std::mt19937 random(6);
  Group group = RandomGroup(0, 64, random);
  // Three columns count a million times as much as all others.
  for (size_t i = 0; i < 64; ++i) group.weights[i] = i < 3 ? 1.0 : 1e-8;
  BinaryCodedGroup coded;
  coded.Assign(group.values, group.weights);
  coded.Seed(2);
  for (size_t i = 0; i < 3; ++i) {
    // To an ulp of fp16, of values below 0.25, for each of three scales.
    EXPECT_NEAR(Weight(coded, i), group.values[i], 3 * 0x1p-13);
  }
}

TEST(BinaryCodedGroupTest, ConstantGroupsAreExactWhereFp16Is) {
  for (const float value : {0.0f, -0.0f, 0.25f, -3.0f, 65504.0f, 0x1p-24f}) {
    for (const size_t size : {1, 2, 32}) {
      const Group group = Unweighted(std::vector<float>(size, value));
      BinaryCodedGroup coded;
      coded.Assign(group.values, group.weights);
      coded.Seed(2);
      EXPECT_EQ(coded.squared_error(), 0) << value;
      coded.AddBit();
      EXPECT_EQ(Weight(coded, size - 1), value);
    }
  }
}

TEST(BinaryCodedGroupTest, OneOutlierCostsTheOthersNothing) {
  std::vector<float> values(128, 0.125f);
  values[17] = 40.0f;
  const Group group = Unweighted(values);
  BinaryCodedGroup coded;
  coded.Assign(group.values, group.weights);
  coded.Seed(2);
  // Two values, which one bit and an offset can say, up to fp16's ulp of 40.
  EXPECT_NEAR(Weight(coded, 17), 40, 0x1p-5);
  EXPECT_NEAR(Weight(coded, 0), 0.125, 0x1p-5);
}

TEST(BinaryCodedGroupTest, NoCodeSaysMoreThanFp16Holds) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 200; ++trial) {
    Group group = RandomGroup(0, 4 + trial % 40, random);
    for (float& value : group.values) {
      value = random() % 3 == 0 ? (random() % 2 == 0 ? 65504.0f : -65504.0f)
                                : 1e6f * value;
      value = std::clamp(value, -65504.0f, 65504.0f);
    }
    BinaryCodedGroup coded;
    coded.Assign(group.values, group.weights);
    coded.Seed(2);
    while (true) {
      float sum = std::abs(ToFloat(coded.beta()));
      for (const Float16 scale : coded.alpha()) {
        sum += std::abs(ToFloat(scale));
      }
      EXPECT_LE(sum, 65504.0f);
      if (coded.bits() == kMaxBits) break;
      coded.AddBit();
    }
  }
}

TEST(BinaryCodedGroupTest, SeedScalesDescendAndAreNotNegative) {
  std::mt19937 random(8);
  for (int trial = 0; trial < 60; ++trial) {
    const Group group = RandomGroup(trial % kRowKinds, 32, random);
    BinaryCodedGroup coded;
    coded.Assign(group.values, group.weights);
    coded.Seed(2 + trial % 7);
    for (size_t i = 0; i < coded.alpha().size(); ++i) {
      EXPECT_GE(ToFloat(coded.alpha()[i]), 0);
      if (i > 0) {
        EXPECT_LE(ToFloat(coded.alpha()[i]), ToFloat(coded.alpha()[i - 1]));
      }
    }
  }
}

}  // namespace
}  // namespace anyprec
