// What the conformance suite cannot see: the memory that a layer takes, the
// accuracy that is promised in every mode, and sizes beyond the suite's.
#include "kernels/cpu/binary_coded_linear.h"

#include <cmath>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_linear.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

std::unique_ptr<BinaryCodedLinear> Load(const QuantizedLinear& layer, Isa isa) {
  auto linear = BinaryCodedLinear::Create({&layer, 1}, isa);
  EXPECT_TRUE(linear.ok()) << linear.status();
  return *std::move(linear);
}

TEST(BinaryCodedLinearTest, HoldsOnlyThePlanesThatItsPrecisionsRead) {
  const RandomQuantizedLinear random(24, 160, 2, 8, 1, 64);
  QuantizedLinear layer = random.view();
  layer.scales = layer.scales.subspan(0, 2);  // for 2 and 3 bits of 8
  const auto linear = Load(layer, DetectIsa());
  EXPECT_TRUE(linear->HasPrecision(3));
  EXPECT_FALSE(linear->HasPrecision(4));
  // 24 rows are padded to 32; 160 columns are three groups.
  constexpr size_t kPlane = 32 * 160 / 8;
  constexpr size_t kGroups = 32 * 3;
  EXPECT_EQ(linear->BytesRead(2), 2 * kPlane + 3 * kGroups * 2);
  EXPECT_EQ(linear->BytesRead(3), 3 * kPlane + 4 * kGroups * 2);
  EXPECT_EQ(linear->BytesResident(), 3 * kPlane + 7 * kGroups * 2);
}

// The sums of a layer as long as those of large models stay as near to the
// exact result as fp32 sums do, in all rows of a batch of several blocks.
TEST(BinaryCodedLinearTest, LongRowsAreExactButForTheRoundingOfSums) {
  constexpr int kN = 40;
  constexpr int kK = 4128;
  constexpr int kRows = 33;
  constexpr int kPrecision = 3;
  const RandomQuantizedLinear random(kN, kK, 2, 8, 2, 128);
  const QuantizedLinear layer = random.view();
  const GroupScales& scales = layer.scales[kPrecision - 2];
  const auto x = RandomFloats(size_t{kRows} * kK, 3);
  ThreadPool pool({.threads = 2});
  MatMulScratch scratch;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > DetectIsa()) continue;
    const auto linear = Load(layer, isa);
    for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
      std::vector<float> y(size_t{kRows} * kN);
      const RowGroup group = {0, kRows, kPrecision, phase};
      ASSERT_TRUE(linear
                      ->MatMul(pool, {&group, 1}, x.data(), y.data(),
                               /*accumulate=*/false, scratch)
                      .ok());
      for (int m = 0; m < kRows; ++m) {
        for (int row = 0; row < kN; ++row) {
          double exact = 0;
          double magnitude = 0;
          for (int c = 0; c < kK; ++c) {
            const size_t i =
                static_cast<size_t>(row) * GroupCount(kK, 128) + c / 128;
            const double product =
                x[static_cast<size_t>(m) * kK + c] *
                static_cast<double>(BinaryCodedWeight(
                    CodeAt(layer.matrix, kPrecision, row, c),
                    scales.alpha.subspan(i * kPrecision, kPrecision),
                    scales.beta[i]));
            exact += product;
            magnitude += std::abs(product);
          }
          // Roundings of 4128 sums of at most `magnitude` grow as their root:
          // 64 * 2^-24; planes whose signs cancel add as much again.
          ASSERT_NEAR(y[static_cast<size_t>(m) * kN + row], exact,
                      128 * 0x1p-24 * magnitude)
              << IsaName(isa) << ", row " << m << ", output " << row;
        }
      }
    }
  }
}

}  // namespace
}  // namespace anyprec
