#include "kernels/cuda/weight_tiles.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bit_plane.h"
#include "kernels/types.h"

namespace anyprec {
namespace {

struct Shape {
  int n;
  int k;
};

constexpr Shape kShapes[] = {{1, 32},    {16, 256}, {17, 96},  {15, 544},
                             {40, 1088}, {33, 288}, {128, 512}};

// Words 1, 2, 3 and so on, so that no two are alike and none is zero.
std::vector<uint32_t> NumberedPlane(int n, int k) {
  std::vector<uint32_t> plane(static_cast<size_t>(n) * (k / 32));
  std::iota(plane.begin(), plane.end(), 1);
  return plane;
}

std::vector<uint32_t> Tiled(const std::vector<PlanePart>& parts, int k) {
  int n = 0;
  for (const PlanePart& part : parts) n += part.n;
  std::vector<uint32_t> tiles(TiledWords(n, k), 0xdeadbeef);
  WriteTiles(parts, k, tiles);
  return tiles;
}

TEST(WeightTilesTest, TilesHoldEveryWordOnceAndZerosBeside) {
  for (const Shape shape : kShapes) {
    const std::vector<uint32_t> plane = NumberedPlane(shape.n, shape.k);
    std::vector<uint32_t> tiles = Tiled({{plane.data(), shape.n}}, shape.k);
    std::sort(tiles.begin(), tiles.end());
    const size_t padding = tiles.size() - plane.size();
    EXPECT_EQ(std::count(tiles.begin(), tiles.end(), 0u),
              static_cast<ptrdiff_t>(padding));
    EXPECT_TRUE(std::equal(plane.begin(), plane.end(), tiles.begin() + padding))
        << shape.n << " x " << shape.k;
  }
}

// The header's table, band by band, tile by tile, lane by lane.
TEST(WeightTilesTest, WordsStandInTheOrderOfTheHeader) {
  for (const Shape shape : kShapes) {
    const int words = shape.k / 32;
    const std::vector<uint32_t> plane = NumberedPlane(shape.n, shape.k);
    std::vector<uint32_t> expected;
    for (int band = 0; band < shape.n; band += 16) {
      for (int tile = 0; tile < words; tile += 8) {
        for (int i = 0; i < 128; ++i) {
          const int row = band + i / 16 + 8 * (i % 2);
          const int word = tile + i / 4 % 4 + 4 * (i / 2 % 2);
          const bool inside = row < shape.n && word < words;
          expected.push_back(inside ? plane[row * words + word] : 0);
        }
      }
    }
    EXPECT_EQ(Tiled({{plane.data(), shape.n}}, shape.k), expected)
        << shape.n << " x " << shape.k;
  }
}

TEST(WeightTilesTest, PartsAreStackedWithoutGaps) {
  constexpr int kColumns = 288;
  const std::vector<uint32_t> whole = NumberedPlane(5 + 20 + 1, kColumns);
  const uint32_t* words = whole.data();
  const std::vector<PlanePart> parts = {
      {words, 5}, {words + 5 * 9, 20}, {words + 25 * 9, 1}};
  EXPECT_EQ(Tiled(parts, kColumns), Tiled({{words, 26}}, kColumns));
}

TEST(WeightTilesTest, SizesArePaddedToBandsAndTiles) {
  EXPECT_EQ(TiledWords(1, 32), 128u);
  EXPECT_EQ(TiledWords(16, 256), 128u);
  EXPECT_EQ(TiledWords(17, 256), 256u);
  EXPECT_EQ(TiledWords(17, 288), 512u);
}

// Of a matrix of two bands and two tiles each, 32 x 512, row 27 columns 416 to
// 447, which are word 13 of the row: band 1, tile 1, thus the fourth tile;
// there row 11 = 8 + g with g = 3 and word 5 = 4 + t with t = 1, so lane 13's
// word 3.
TEST(WeightTilesTest, WorkedExampleStandsWhereTheHeaderSays) {
  const std::vector<uint32_t> plane = NumberedPlane(32, 512);
  const std::vector<uint32_t> tiles = Tiled({{plane.data(), 32}}, 512);
  EXPECT_EQ(tiles[3 * 128 + 13 * 4 + 3], plane[27 * 16 + 13]);
}

// The A fragment of mma.m16n8k256: a[r] of a lane is word t + 4 (r / 2) of row
// g + 8 (r % 2).
TEST(WeightTilesTest, PiecesAreFragmentsOfTheTensorCore) {
  const std::vector<uint32_t> plane = NumberedPlane(16, 256);
  const std::vector<uint32_t> tile = Tiled({{plane.data(), 16}}, 256);
  for (int lane = 0; lane < 32; ++lane) {
    for (int r = 0; r < 4; ++r) {
      const int row = lane / 4 + 8 * (r % 2);
      const int word = lane % 4 + 4 * (r / 2);
      EXPECT_EQ(tile[lane * 4 + r], plane[row * 8 + word])
          << "lane " << lane << " word " << r;
    }
  }
}

// [band][group][beta, then the alphas][row of the band], of parts that share a
// band.
TEST(WeightTilesTest, ScalesStandByBandGroupAndBit) {
  constexpr int kGroups = 3;
  constexpr int kPrecision = 2;
  constexpr int kRows = 23;
  // Of bit -1, beta, and of bits 0 and 1: no two alike, all exact in fp16.
  const auto value = [](int row, int group, int bit) {
    return static_cast<float>(1 + (row * kGroups + group) * 3 + bit + 1);
  };
  std::vector<Float16> alpha, beta;
  for (int row = 0; row < kRows; ++row) {
    for (int group = 0; group < kGroups; ++group) {
      beta.push_back(ToFloat16(value(row, group, -1)));
      for (int bit = 0; bit < kPrecision; ++bit) {
        alpha.push_back(ToFloat16(value(row, group, bit)));
      }
    }
  }
  constexpr size_t kFirst = 13 * kGroups;  // groups of the first part
  const auto alphas = std::span<const Float16>(alpha);
  const auto betas = std::span<const Float16>(beta);
  const std::vector<GroupScales> parts = {
      {kPrecision, 32, alphas.first(kFirst * kPrecision), betas.first(kFirst)},
      {kPrecision, 32, alphas.subspan(kFirst * kPrecision),
       betas.subspan(kFirst)}};
  std::vector<Float16> tiles(TiledScales(kRows, kGroups, kPrecision),
                             ToFloat16(-1));
  ASSERT_EQ(tiles.size(), 2u * kGroups * (1 + kPrecision) * 16);
  WriteScaleTiles(parts, kGroups, tiles);
  size_t i = 0;
  for (int band = 0; band < 2; ++band) {
    for (int group = 0; group < kGroups; ++group) {
      for (int bit = -1; bit < kPrecision; ++bit) {
        for (int row = 16 * band; row < 16 * (band + 1); ++row, ++i) {
          EXPECT_EQ(ToFloat(tiles[i]), row < kRows ? value(row, group, bit) : 0)
              << "row " << row << ", group " << group << ", bit " << bit;
        }
      }
    }
  }
}

}  // namespace
}  // namespace anyprec
