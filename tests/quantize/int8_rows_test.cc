#include "quantize/int8_rows.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

TEST(Int8RowsTest, ErrorIsAtMostHalfAScale) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  constexpr size_t kRows = 20, kColumns = 65;
  std::vector<float> weights(kRows * kColumns);
  for (size_t i = 0; i < weights.size(); ++i) {
    // Rows from 1e-10 to 1e9.
    const size_t row = i / kColumns;
    weights[i] =
        normal(random) * std::pow(10.0f, static_cast<float>(row) - 10.0f);
  }
  std::vector<int8_t> values(weights.size());
  std::vector<float> scales(kRows);
  QuantizeRowsToInt8(weights, values, scales);
  for (size_t row = 0; row < kRows; ++row) {
    float largest = 0;
    int largest_value = 0;
    for (size_t i = row * kColumns; i < (row + 1) * kColumns; ++i) {
      // Half a scale, and the rounding of the division.
      EXPECT_LE(std::abs(weights[i] - values[i] * scales[row]),
                0.50001f * scales[row]);
      largest = std::max(largest, std::abs(weights[i]));
      largest_value = std::max(largest_value, std::abs(int{values[i]}));
    }
    EXPECT_FLOAT_EQ(scales[row], largest / 127.0f);
    EXPECT_EQ(largest_value, 127);
  }
}

TEST(Int8RowsTest, KeepsARowOfZeros) {
  const std::vector<float> weights(8, 0.0f);
  std::vector<int8_t> values(8, 1);
  std::vector<float> scales(2, 1.0f);
  QuantizeRowsToInt8(weights, values, scales);
  EXPECT_EQ(values, std::vector<int8_t>(8, 0));
  EXPECT_EQ(scales, std::vector<float>(2, 0.0f));
}

TEST(Int8RowsTest, SurvivesSubnormalRows) {
  const std::vector<float> weights = {1e-45f, -3e-45f, 0.0f, 1e-44f};
  std::vector<int8_t> values(4);
  std::vector<float> scales(1);
  QuantizeRowsToInt8(weights, values, scales);
  EXPECT_TRUE(std::isfinite(scales[0]));
  EXPECT_EQ(values[2], 0);
}

}  // namespace
}  // namespace anyprec
