// DecodeBitPlanes against plain loops in double, and its independence of batch
// mates and of the order in which threads run.
#include "kernels/cuda/bit_plane_decode.cuh"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bit_plane.h"
#include "kernels/cuda/emulation/runtime.h"
#include "tests/conformance/backend_test_data.h"
#include "tests/kernels/cuda/device_bit_planes.h"
#include "tests/kernels/cuda/device_vector.h"

namespace anyprec {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// y after a product of all rows of x; y must have as many rows.
std::vector<float> Decode(const BitPlaneWeights& weights, int precision,
                          std::span<const float> x,
                          const std::vector<float>& before, bool accumulate) {
  const DeviceVector<float> in({x.begin(), x.end()});
  const DeviceVector<float> out(before);
  const int rows = static_cast<int>(x.size()) / weights.k;
  EXPECT_EQ(DecodeBitPlanes(weights, precision, in.data(), rows, out.data(),
                            accumulate, /*stream=*/nullptr),
            cudaSuccess);
  return out.Read();
}

// An element passes at most `depth` fp32 additions on its way to the result: a
// lane's 64 columns of every eighth tile, 2 across lanes, 8 across warps, 1 to
// what was there. Each is off by half an ulp of at most the sum of magnitudes;
// products are fused.
double Tolerance(int k, double magnitude) {
  const int depth = 64 * ((k + 2047) / 2048) + 2 + 8 + 1;
  return depth * 0x1p-24 * magnitude;
}

struct Shape {
  int n;
  int k;
  int group_size = 0;  // 0: codebooks
};

RandomQuantizedLinear RandomLayer(const Shape& shape, int min_precision,
                                  uint32_t seed) {
  return {shape.n, shape.k, min_precision, 8, seed, shape.group_size};
}

TEST(BitPlaneDecodeTest, MatchesExactProducts) {
  constexpr Shape kShapes[] = {{1, 32},        {17, 96},      {33, 256},
                               {17, 544},      {33, 1088},    {1, 2336},
                               {1, 32, 128},   {17, 544, 32}, {33, 1088, 128},
                               {1, 2336, 480}, {33, 256, 256}};
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << "groups of " << shape.group_size);
    const RandomQuantizedLinear layer = RandomLayer(shape, 2, shape.k);
    const DeviceBitPlanes own(layer.view());
    for (int precision = 2; precision <= 8; ++precision) {
      for (const int rows : {1, 2, 3, 5, 8, 9, 19}) {
        const bool accumulate = (precision + rows) % 2 == 0;
        const auto x = RandomFloats(static_cast<size_t>(rows) * shape.k, rows);
        const auto before =
            accumulate ? RandomFloats(static_cast<size_t>(rows) * shape.n, 7)
                       : std::vector<float>(rows * shape.n, kNan);
        const auto got = Decode(own.view(), precision, x, before, accumulate);
        const auto want = MultiplyExactly(layer.view(), precision, x);
        for (size_t i = 0; i < want.size(); ++i) {
          const double base = accumulate ? before[i] : 0;
          ASSERT_NEAR(got[i], base + want[i].value,
                      Tolerance(shape.k, want[i].magnitude + std::abs(base)))
              << "row " << i / shape.n << ", output " << i % shape.n << " of "
              << rows << " rows, " << shape.n << " x " << shape.k << " at "
              << precision << " bits";
        }
      }
    }
  }
}

// What follows holds for codebooks and for scales.
class BitPlaneDecodeGroupTest : public testing::TestWithParam<int> {
 protected:
  // Of the test's group size.
  Shape Sized(int n, int k) const { return {n, k, GetParam()}; }
};

INSTANTIATE_TEST_SUITE_P(Groups, BitPlaneDecodeGroupTest,
                         testing::Values(0, 96),
                         testing::PrintToStringParamName());

TEST_P(BitPlaneDecodeGroupTest, RowsDoNotDependOnBatchMates) {
  const Shape shape = Sized(19, 800);
  constexpr int kRows = 19;
  const RandomQuantizedLinear layer = RandomLayer(shape, 2, 3);
  const DeviceBitPlanes own(layer.view());
  for (int precision = 2; precision <= 8; ++precision) {
    auto x = RandomFloats(kRows * shape.k, 4);
    // Mates that are no numbers, beside every row that is looked at.
    for (int row = 0; row < kRows; row += 3) x[row * shape.k + row] = kNan;
    const std::vector<float> y(kRows * shape.n, kNan);
    const auto together = Decode(own.view(), precision, x, y, false);
    for (const int rows : {1, 2, 3, 7}) {
      for (int first = 0; first + rows <= kRows; first += rows) {
        const auto part = std::span(x).subspan(first * shape.k, rows * shape.k);
        const auto got = Decode(own.view(), precision, part,
                                std::vector<float>(rows * shape.n), false);
        EXPECT_TRUE(SameBits(
            got, std::span(together).subspan(first * shape.n, rows * shape.n)))
            << rows << " rows from " << first << " at " << precision << " bits";
      }
    }
    for (int row = 0; row < kRows; ++row) {
      EXPECT_EQ(std::isfinite(together[row * shape.n]), row % 3 != 0);
    }
  }
}

TEST_P(BitPlaneDecodeGroupTest, ResultsDoNotDependOnTheOrderOfThreads) {
  const Shape shape = Sized(33, 2400);
  const RandomQuantizedLinear layer = RandomLayer(shape, 3, 5);
  const DeviceBitPlanes own(layer.view());
  for (const int rows : {1, 2, 4, 11}) {
    const auto x = RandomFloats(static_cast<size_t>(rows) * shape.k, 6);
    const std::vector<float> y(rows * shape.n);
    emulation::SetSeed(0);
    const auto want = Decode(own.view(), 3 + rows % 6, x, y, false);
    for (uint64_t seed = 1; seed <= 6; ++seed) {
      emulation::SetSeed(seed);
      EXPECT_TRUE(SameBits(Decode(own.view(), 3 + rows % 6, x, y, false), want))
          << "seed " << seed;
    }
  }
  emulation::SetSeed(1);
}

// y after a product of the rows of `slices`, in a launch for `max_rows`.
std::vector<float> DecodeInSlices(const BitPlaneWeights& weights,
                                  const std::vector<DecodeSlice>& slices,
                                  int max_rows, int max_precision,
                                  std::span<const float> x,
                                  const std::vector<float>& before,
                                  bool accumulate) {
  const DeviceVector<float> in({x.begin(), x.end()});
  const DeviceVector<float> out(before);
  const DeviceVector<DecodeSlice> on_device(slices);
  const DeviceVector<int32_t> count({static_cast<int32_t>(slices.size())});
  EXPECT_EQ(DecodeBitPlaneSlices(weights,
                                 {.slices = on_device.data(),
                                  .count = count.data(),
                                  .max_rows = max_rows,
                                  .max_precision = max_precision},
                                 in.data(), out.data(), accumulate,
                                 /*stream=*/nullptr),
            cudaSuccess);
  return out.Read();
}

TEST_P(BitPlaneDecodeGroupTest,
       SlicesOfAnyPrecisionHaveTheBitsOfALaunchOfTheirOwn) {
  const Shape shape = Sized(35, 544);
  const RandomQuantizedLinear layer = RandomLayer(shape, 2, 3);
  const DeviceBitPlanes own(layer.view());
  for (int max_precision = 2; max_precision <= 8; ++max_precision) {
    for (const int max_rows : {1, 2, 4, 8, 16, 64}) {
      // Every precision in turn, the highest first; slices of 1 row, 2 and so
      // on, and a row that belongs to none between each two.
      std::vector<DecodeSlice> slices;
      int rows = 0;
      for (int i = 0; i < 9; ++i) {
        const int slice_rows = i % MaxSliceRows(max_rows) + 1;
        if (rows + slice_rows > max_rows) break;
        slices.push_back({rows, slice_rows,
                          max_precision - i % (max_precision - kMinBits + 1)});
        rows += slice_rows + 1;
      }
      BitPlaneWeights weights = own.view();
      for (int plane = max_precision; plane < kMaxBits; ++plane) {
        weights.planes[plane] = nullptr;
      }
      const bool accumulate = max_rows % 3 == 1;
      const auto x = RandomFloats(rows * shape.k, 4);
      const auto before = RandomFloats(rows * shape.n, 5);
      std::vector<float> want = before;
      for (const DecodeSlice& slice : slices) {
        const auto first = want.begin() + slice.first_row * shape.n;
        const auto alone =
            Decode(weights, slice.precision,
                   std::span(x).subspan(slice.first_row * shape.k,
                                        slice.rows * shape.k),
                   std::vector<float>(first, first + slice.rows * shape.n),
                   accumulate);
        std::copy(alone.begin(), alone.end(), first);
      }
      EXPECT_TRUE(SameBits(DecodeInSlices(weights, slices, max_rows,
                                          max_precision, x, before, accumulate),
                           want))
          << max_rows << " rows at up to " << max_precision << " bits";
    }
  }
}

TEST_P(BitPlaneDecodeGroupTest, WritesNothingBesideItsRows) {
  const Shape shape = Sized(21, 64);
  constexpr int kRows = 3;
  const RandomQuantizedLinear layer = RandomLayer(shape, 2, 5);
  const DeviceBitPlanes own(layer.view());
  const DeviceVector<float> x(RandomFloats(kRows * shape.k, 1));
  const auto before = RandomFloats((kRows + 2) * shape.n, 2);
  const DeviceVector<float> y(before);
  ASSERT_EQ(DecodeBitPlanes(own.view(), 4, x.data(), kRows, y.data() + shape.n,
                            false, nullptr),
            cudaSuccess);
  const auto after = y.Read();
  const size_t n = shape.n;
  EXPECT_TRUE(SameBits(std::span(after).first(n), std::span(before).first(n)));
  EXPECT_TRUE(SameBits(std::span(after).last(n), std::span(before).last(n)));
}

TEST_P(BitPlaneDecodeGroupTest, ReadsOnlyThePlanesOfItsPrecision) {
  const Shape shape = Sized(18, 288);
  const RandomQuantizedLinear layer = RandomLayer(shape, 2, 5);
  const DeviceBitPlanes own(layer.view());
  const auto x = RandomFloats(shape.k, 1);
  const std::vector<float> y(shape.n);
  for (int precision = 2; precision < 8; ++precision) {
    BitPlaneWeights fewer = own.view();
    for (int plane = precision; plane < 8; ++plane) {
      fewer.planes[plane] = nullptr;
    }
    EXPECT_TRUE(SameBits(Decode(fewer, precision, x, y, false),
                         Decode(own.view(), precision, x, y, false)));
  }
}

TEST(BitPlaneDecodeTest, NoRowsAreNoWork) {
  const RandomQuantizedLinear layer(3, 32, 2, 3, 5);
  const DeviceBitPlanes own(layer.view());
  EXPECT_TRUE(Decode(own.view(), 3, {}, {}, false).empty());
}

}  // namespace
}  // namespace anyprec
