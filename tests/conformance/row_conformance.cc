// Memory, and the operations that take each row by itself.
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "tests/conformance/backend_conformance.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

constexpr int kRowSizes[] = {1, 2, 15, 16, 17, 64, 100, 576, 1000, 2049};

TEST_P(BackendConformanceTest, HasAName) {
  EXPECT_FALSE(backend_->name().empty());
}

TEST_P(BackendConformanceTest, MemoryIsZeroFilledAndReadsBackWhatWasCopied) {
  for (const size_t size : {1, 1000, 1 << 20}) {
    auto buffer = backend_->Allocate(size);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    ASSERT_EQ((*buffer)->size(), size);
    const std::vector<float> zeros(size);
    EXPECT_TRUE(SameBits(Download(*backend_, (*buffer)->data(), size), zeros));
    const std::vector<float> values = RandomFloats(size, 1);
    ASSERT_TRUE(backend_->CopyFromHost(values, (*buffer)->data()).ok());
    EXPECT_TRUE(SameBits(Download(*backend_, (*buffer)->data(), size), values));
  }
}

TEST_P(BackendConformanceTest, RmsNormMatchesTheReference) {
  for (const int n : kRowSizes) {
    for (const int rows : {1, 3, 70}) {
      const auto x = RandomFloats(static_cast<size_t>(rows) * n, n);
      const auto weight = RandomFloats(n, n + 1);
      auto x_ref = Upload(*reference_, x);
      auto weight_ref = Upload(*reference_, weight);
      ASSERT_TRUE(reference_
                      ->RmsNorm(x_ref->data(), weight_ref->data(), rows, n,
                                1e-5f, x_ref->data())
                      .ok());
      auto x_own = Upload(*backend_, x);
      auto weight_own = Upload(*backend_, weight);
      auto y_own = Upload(*backend_, std::vector<float>(x.size(), NAN));
      ASSERT_TRUE(backend_
                      ->RmsNorm(x_own->data(), weight_own->data(), rows, n,
                                1e-5f, y_own->data())
                      .ok());
      const auto want = Download(*reference_, x_ref->data(), x.size());
      const auto got = Download(*backend_, y_own->data(), x.size());
      EXPECT_LE(MaxError(got, want), GetParam().tolerance) << rows << "x" << n;
      // In place, and the first row by itself.
      ASSERT_TRUE(backend_
                      ->RmsNorm(x_own->data(), weight_own->data(), 1, n, 1e-5f,
                                x_own->data())
                      .ok());
      EXPECT_TRUE(SameBits(Download(*backend_, x_own->data(), n),
                           std::span(got).first(n)));
    }
  }
}

TEST_P(BackendConformanceTest, SiluMulMatchesTheReference) {
  for (const int n : kRowSizes) {
    constexpr int kRows = 9;
    auto gate_up = RandomFloats(static_cast<size_t>(2) * kRows * n, n);
    for (size_t i = 0; i < gate_up.size(); i += 7) gate_up[i] *= 10;
    auto in_ref = Upload(*reference_, gate_up);
    auto in_own = Upload(*backend_, gate_up);
    const size_t size = static_cast<size_t>(kRows) * n;
    auto y_ref = Upload(*reference_, std::vector<float>(size));
    auto y_own = Upload(*backend_, std::vector<float>(size, NAN));
    ASSERT_TRUE(
        reference_->SiluMul(in_ref->data(), kRows, n, y_ref->data()).ok());
    ASSERT_TRUE(
        backend_->SiluMul(in_own->data(), kRows, n, y_own->data()).ok());
    // Outputs reach the hundreds here.
    EXPECT_LE(MaxError(Download(*backend_, y_own->data(), size),
                       Download(*reference_, y_ref->data(), size)),
              100 * GetParam().tolerance)
        << n;
  }
}

TEST_P(BackendConformanceTest, SiluMulStaysFiniteForLargeGates) {
  const std::vector<float> gate_up = {-1e30f, -200, -90, 0, 90, 200, 1e30f,
                                      1,      1,    1,   1, 1,  1,   1};
  auto in = Upload(*backend_, gate_up);
  auto y = Upload(*backend_, std::vector<float>(7));
  ASSERT_TRUE(backend_->SiluMul(in->data(), 1, 7, y->data()).ok());
  const std::vector<float> got = Download(*backend_, y->data(), 7);
  const std::vector<float> want = {0, 0, 0, 0, 90, 200, 1e30f};
  for (int i = 0; i < 7; ++i) {
    EXPECT_NEAR(got[i], want[i], 1e-6 * std::abs(want[i]) + 1e-6) << i;
  }
}

TEST_P(BackendConformanceTest, GatherRowsCopiesRowsInTheOrderAsked) {
  const int n = 37;
  const auto x = RandomFloats(static_cast<size_t>(6) * n, 3);
  auto in = Upload(*backend_, x);
  const std::vector<int32_t> rows = {5, 0, 0, 3};
  auto y = Upload(*backend_, std::vector<float>(rows.size() * n, NAN));
  ASSERT_TRUE(backend_->GatherRows(in->data(), rows, n, y->data()).ok());
  const auto got = Download(*backend_, y->data(), rows.size() * n);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(SameBits(std::span(got).subspan(i * n, n),
                         std::span(x).subspan(rows[i] * n, n)));
  }
}

TEST_P(BackendConformanceTest, OperationsOnNoRowsDoNothing) {
  EXPECT_TRUE(backend_->RmsNorm(nullptr, nullptr, 0, 8, 1e-5f, nullptr).ok());
  EXPECT_TRUE(backend_->SiluMul(nullptr, 0, 8, nullptr).ok());
  EXPECT_TRUE(backend_->GatherRows(nullptr, {}, 8, nullptr).ok());
  EXPECT_TRUE(backend_->Sample(nullptr, {}, 8, {}).ok());
}

}  // namespace
}  // namespace anyprec
