// PrefillBitPlanes against plain loops in double, and its independence of batch
// mates, of the magnitude of rows and of the order in which threads run.
#include "kernels/cuda/bit_plane_prefill.cuh"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/emulation/runtime.h"
#include "tests/conformance/backend_test_data.h"
#include "tests/kernels/cuda/device_bit_planes.h"
#include "tests/kernels/cuda/device_vector.h"

namespace anyprec {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// y after a product of all rows of x; y must have as many rows.
std::vector<float> Prefill(const BitPlaneWeights& weights, int precision,
                           std::span<const float> x,
                           const std::vector<float>& before, bool accumulate) {
  const int rows = static_cast<int>(x.size()) / weights.k;
  const DeviceVector<float> in({x.begin(), x.end()});
  const DeviceVector<float> out(before);
  const DeviceVector<std::byte> scratch(
      std::vector<std::byte>(PrefillScratchBytes(weights.k, rows)));
  EXPECT_EQ(PrefillBitPlanes(weights, precision, in.data(), rows, out.data(),
                             accumulate, scratch.data(), /*stream=*/nullptr),
            cudaSuccess);
  return out.Read();
}

// Rounding an activation to fp16 costs at most 2^-11 of it, and so does a
// weight that scales make. Each of the k / 16 products of the tensor core,
// which does not round to nearest, costs at most an ulp of the sum of
// magnitudes, 2^-23, and so does adding to what was there.
double Tolerance(int k, bool scales, double magnitude) {
  const double rounding = scales ? 0x1p-10 + 0x1p-22 : 0x1p-11;
  return (rounding + (k / 16.0 + 2) * 0x1p-23) * magnitude;
}

void ExpectNear(const std::vector<float>& got,
                const std::vector<ExactProduct>& want,
                const std::vector<float>& before, bool accumulate, int k,
                bool scales = false) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    const double base = accumulate ? before[i] : 0;
    ASSERT_NEAR(got[i], base + want[i].value,
                Tolerance(k, scales, want[i].magnitude + std::abs(base)))
        << "element " << i;
  }
}

struct Case {
  int n;
  int k;
  int rows;
  int group_size = 0;  // 0: codebooks
};

TEST(BitPlanePrefillTest, MatchesExactProducts) {
  constexpr Case kCases[] = {
      {1, 32, 1},       {17, 96, 2},     {33, 256, 3},     {17, 544, 5},
      {33, 1088, 8},    {66, 288, 9},    {1, 1088, 19},    {17, 64, 130},
      {130, 96, 33},    {1, 32, 1, 128}, {17, 544, 5, 32}, {33, 1088, 9, 128},
      {66, 288, 19, 96}};
  for (const Case& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.n << " x " << c.k << ", " << c.rows
                                    << " rows, groups of " << c.group_size);
    const RandomQuantizedLinear layer(c.n, c.k, 2, 8, c.k, c.group_size);
    const DeviceBitPlanes own(layer.view());
    const auto x = RandomFloats(static_cast<size_t>(c.rows) * c.k, c.rows);
    for (int precision = 2; precision <= 8; ++precision) {
      SCOPED_TRACE(precision);
      const bool accumulate = precision % 2 == 0;
      const auto before =
          accumulate ? RandomFloats(static_cast<size_t>(c.rows) * c.n, 7)
                     : std::vector<float>(c.rows * c.n, kNan);
      ExpectNear(Prefill(own.view(), precision, x, before, accumulate),
                 MultiplyExactly(layer.view(), precision, x), before,
                 accumulate, c.k, c.group_size > 0);
    }
  }
}

// What follows holds for codebooks and for scales.
class BitPlanePrefillGroupTest : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Groups, BitPlanePrefillGroupTest,
                         testing::Values(0, 96),
                         testing::PrintToStringParamName());

TEST_P(BitPlanePrefillGroupTest, RowsDoNotDependOnBatchMates) {
  constexpr int kN = 19;
  constexpr int kK = 288;
  constexpr int kRows = 37;
  const RandomQuantizedLinear layer(kN, kK, 2, 8, 3, GetParam());
  const DeviceBitPlanes own(layer.view());
  for (int precision = 2; precision <= 8; ++precision) {
    auto x = RandomFloats(kRows * kK, 4);
    // Mates that are no numbers, and mates much larger.
    for (int row = 0; row < kRows; row += 3) x[row * kK + row] = kNan;
    for (int row = 1; row < kRows; row += 6) x[row * kK + row] = 1e30f;
    const auto together = Prefill(own.view(), precision, x,
                                  std::vector<float>(kRows * kN), false);
    for (const int rows : {1, 2, 7, 13}) {
      for (int first = rows % 4; first + rows <= kRows; first += 2 * rows) {
        const auto got = Prefill(own.view(), precision,
                                 std::span(x).subspan(first * kK, rows * kK),
                                 std::vector<float>(rows * kN), false);
        EXPECT_TRUE(
            SameBits(got, std::span(together).subspan(first * kN, rows * kN)))
            << rows << " rows from " << first << " at " << precision << " bits";
      }
    }
    for (int row = 0; row < kRows; ++row) {
      EXPECT_EQ(std::isfinite(together[row * kN]), row % 3 != 0);
    }
  }
}

TEST_P(BitPlanePrefillGroupTest, ResultsDoNotDependOnTheOrderOfThreads) {
  constexpr int kN = 81;
  constexpr int kK = 600 / 32 * 32;
  constexpr int kRows = 21;
  const RandomQuantizedLinear layer(kN, kK, 3, 8, 5, GetParam());
  const DeviceBitPlanes own(layer.view());
  const auto x = RandomFloats(kRows * kK, 6);
  const std::vector<float> y(kRows * kN);
  for (const int precision : {3, 8}) {
    emulation::SetSeed(0);
    const auto want = Prefill(own.view(), precision, x, y, false);
    for (uint64_t seed = 1; seed <= 6; ++seed) {
      emulation::SetSeed(seed);
      EXPECT_TRUE(SameBits(Prefill(own.view(), precision, x, y, false), want))
          << "seed " << seed;
    }
  }
  emulation::SetSeed(1);
}

// Powers of two change exponents alone, whatever the row's magnitude, as long
// as y itself stays in fp32's range.
TEST(BitPlanePrefillTest, RowsOfAnyMagnitudeKeepTheirPrecision) {
  constexpr int kN = 17;
  constexpr int kK = 96;
  const RandomQuantizedLinear layer(kN, kK, 4, 4, 3);
  const DeviceBitPlanes own(layer.view());
  const auto x = RandomFloats(kK, 4);
  const std::vector<float> y(kN);
  const auto want = Prefill(own.view(), 4, x, y, false);
  for (const int exponent : {-95, -30, 13, 14, 15, 16, 17, 40, 120}) {
    std::vector<float> scaled = x;
    for (float& value : scaled) value = std::ldexp(value, exponent);
    auto got = Prefill(own.view(), 4, scaled, y, false);
    for (float& value : got) value = std::ldexp(value, -exponent);
    EXPECT_TRUE(SameBits(got, want)) << exponent;
  }
}

// Elements far below their row's largest become multiples of fp16's smallest
// number, 2^-24 where the largest is 2^14 or more.
TEST(BitPlanePrefillTest, OutliersCostTheOthersLittle) {
  constexpr int kN = 17;
  constexpr int kK = 96;
  const RandomQuantizedLinear layer(kN, kK, 4, 4, 3);
  const DeviceBitPlanes own(layer.view());
  auto x = RandomFloats(2 * kK, 4);
  x[5] = 1e5f;
  x[kK + 95] = -3e9f;
  const std::vector<float> y(2 * kN);
  ExpectNear(Prefill(own.view(), 4, x, y, false),
             MultiplyExactly(layer.view(), 4, x), y, false, kK);
}

TEST(BitPlanePrefillTest, TheLargestCentroidsDoNotOverflow) {
  constexpr int kN = 16;
  constexpr int kK = 1024;
  const RandomQuantizedLinear random(kN, kK, 2, 2, 3);
  const Float16 largest = ToFloat16(65504.0f);
  const std::vector<Float16> centroids(kN << 2, largest);
  const Codebook codebook = {2, centroids};
  const QuantizedLinear layer = {random.view().matrix, {&codebook, 1}};
  const DeviceBitPlanes own(layer);
  const std::vector<float> x(kK, 1.9f);
  const std::vector<float> y(kN);
  ExpectNear(Prefill(own.view(), 2, x, y, false), MultiplyExactly(layer, 2, x),
             y, false, kK);
}

TEST_P(BitPlanePrefillGroupTest, ZerosGiveZerosAndInfinitiesStay) {
  constexpr int kN = 18;
  constexpr int kK = 64;
  const RandomQuantizedLinear layer(kN, kK, 3, 3, 5, GetParam());
  const DeviceBitPlanes own(layer.view());
  std::vector<float> x(2 * kK);
  x[kK + 7] = kInfinity;
  const auto got =
      Prefill(own.view(), 3, x, std::vector<float>(2 * kN, kNan), false);
  for (int i = 0; i < kN; ++i) {
    EXPECT_EQ(got[i], 0);
    EXPECT_FALSE(std::isfinite(got[kN + i]));
  }
}

TEST(BitPlanePrefillTest, WritesNothingBesideItsRows) {
  constexpr int kN = 21;
  constexpr int kK = 64;
  constexpr int kRows = 9;
  const RandomQuantizedLinear layer(kN, kK, 2, 8, 5);
  const DeviceBitPlanes own(layer.view());
  const DeviceVector<float> x(RandomFloats(kRows * kK, 1));
  const auto before = RandomFloats((kRows + 2) * kN, 2);
  const DeviceVector<float> y(before);
  const DeviceVector<std::byte> scratch(
      std::vector<std::byte>(PrefillScratchBytes(kK, kRows)));
  ASSERT_EQ(PrefillBitPlanes(own.view(), 4, x.data(), kRows, y.data() + kN,
                             false, scratch.data(), nullptr),
            cudaSuccess);
  const auto after = y.Read();
  EXPECT_TRUE(
      SameBits(std::span(after).first(kN), std::span(before).first(kN)));
  EXPECT_TRUE(SameBits(std::span(after).last(kN), std::span(before).last(kN)));
}

TEST(BitPlanePrefillTest, NoRowsAreNoWork) {
  const RandomQuantizedLinear layer(3, 32, 2, 3, 5);
  const DeviceBitPlanes own(layer.view());
  EXPECT_TRUE(Prefill(own.view(), 3, {}, {}, false).empty());
}

}  // namespace
}  // namespace anyprec
