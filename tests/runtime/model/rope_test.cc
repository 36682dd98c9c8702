#include "runtime/model/rope.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

ModelConfig Config(int head_dim, double theta) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.rope_theta = theta;
  return config;
}

TEST(RopeTableTest, FirstPairTurnsOneRadianAPosition) {
  const std::vector<float> table = RopeTable(Config(8, 10000.0), 0, 3);
  ASSERT_EQ(table.size(), 24);
  for (int position = 0; position < 3; ++position) {
    EXPECT_FLOAT_EQ(table[position * 8], std::cos(position));
    EXPECT_FLOAT_EQ(table[position * 8 + 4], std::sin(position));
  }
}

TEST(RopeTableTest, ALaterPieceGoesOnWhereTheFirstEnded) {
  const ModelConfig config = Config(8, 10000.0);
  const std::vector<float> whole = RopeTable(config, 0, 5);
  const std::vector<float> piece = RopeTable(config, 3, 2);
  EXPECT_EQ(std::vector<float>(whole.begin() + 3 * 8, whole.end()), piece);
}

TEST(RopeTableTest, LaterPairsTurnMoreSlowly) {
  const std::vector<float> table = RopeTable(Config(8, 10000.0), 0, 2);
  // theta^(-2 i / 8): 1, 0.1, 0.01, 0.001.
  EXPECT_FLOAT_EQ(table[8 + 4 + 1], std::sin(0.1));
  EXPECT_FLOAT_EQ(table[8 + 4 + 3], std::sin(0.001));
}

TEST(RopeTableTest, Llama3ScalingSlowsOnlyLongWavelengths) {
  ModelConfig config = Config(128, 500000.0);
  const std::vector<float> plain = RopeTable(config, 0, 2);
  config.rope_scaling = Llama3RopeScaling{};
  const std::vector<float> scaled = RopeTable(config, 0, 2);
  const float* plain_sines = &plain[128 + 64];
  const float* scaled_sines = &scaled[128 + 64];
  EXPECT_EQ(scaled_sines[0], plain_sines[0]);
  // The last wavelength is 2 pi 500000^(126 / 128), far beyond 8192.
  EXPECT_NEAR(scaled_sines[63] / plain_sines[63], 1.0 / 8, 1e-6);
  for (int i = 0; i < 64; ++i) {
    EXPECT_LE(scaled_sines[i], plain_sines[i]) << "pair " << i;
    EXPECT_GE(scaled_sines[i], plain_sines[i] / 8.001) << "pair " << i;
  }
}

}  // namespace
}  // namespace anyprec
