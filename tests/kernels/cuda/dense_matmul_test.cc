// MultiplyDense against plain loops in double for every type, its independence
// of batch mates, alignment and the order of threads, and EmbedDense.
#include "kernels/cuda/dense_matmul.cuh"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cuda/emulation/runtime.h"
#include "tests/conformance/backend_test_data.h"
#include "tests/kernels/cuda/device_vector.h"

namespace anyprec {
namespace {

using Type = DenseMatrix::Type;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr Type kTypes[] = {Type::kFloat32, Type::kFloat16, Type::kBFloat16,
                           Type::kInt8};

// A copy of a matrix in device memory, `offset` bytes behind an aligned
// address.
class DeviceDense {
 public:
  explicit DeviceDense(const DenseMatrix& matrix, size_t offset = 0)
      : data_(Bytes(matrix, offset)),
        row_scales_({matrix.row_scales.begin(), matrix.row_scales.end()}),
        view_{.type = matrix.type,
              .data = data_.data() + offset,
              .row_scales = row_scales_.data(),
              .n = matrix.n,
              .k = matrix.k} {}

  const DenseWeights& view() const { return view_; }

 private:
  static std::vector<std::byte> Bytes(const DenseMatrix& matrix,
                                      size_t offset) {
    const auto* first = static_cast<const std::byte*>(matrix.data);
    const size_t size =
        static_cast<size_t>(matrix.n) * matrix.k * ElementBytes(matrix.type);
    std::vector<std::byte> bytes(offset);
    bytes.insert(bytes.end(), first, first + size);
    return bytes;
  }

  DeviceVector<std::byte> data_;
  DeviceVector<float> row_scales_;
  DenseWeights view_;
};

// W[row, column]
double WeightAt(const DenseMatrix& matrix, int row, int column) {
  const size_t i = static_cast<size_t>(row) * matrix.k + column;
  switch (matrix.type) {
    case Type::kFloat32:
      return static_cast<const float*>(matrix.data)[i];
    case Type::kFloat16:
      return ToFloat(static_cast<const Float16*>(matrix.data)[i]);
    case Type::kBFloat16:
      return ToFloat(static_cast<const BFloat16*>(matrix.data)[i]);
    case Type::kInt8:
      return static_cast<double>(static_cast<const int8_t*>(matrix.data)[i]) *
             matrix.row_scales[row];
  }
  return 0;
}

// y after a product of all rows of x, which lies `offset` floats behind an
// aligned address.
std::vector<float> Multiply(const DenseWeights& weights,
                            std::span<const float> x,
                            const std::vector<float>& before, bool accumulate,
                            size_t offset = 0) {
  std::vector<float> shifted(offset);
  shifted.insert(shifted.end(), x.begin(), x.end());
  const DeviceVector<float> in(shifted);
  const DeviceVector<float> out(before);
  const int rows = static_cast<int>(x.size()) / weights.k;
  EXPECT_EQ(MultiplyDense(weights, in.data() + offset, rows, out.data(),
                          accumulate, /*stream=*/nullptr),
            cudaSuccess);
  return out.Read();
}

// An element passes at most `depth` fp32 additions on its way to the result: a
// lane's share of the columns, whole pieces of at most 16, 5 across lanes, 1 to
// what was there, and 1 for the scale. Each is off by half an ulp of at most
// the sum of magnitudes; products are fused.
double Tolerance(int k, double magnitude) {
  const int depth = k / 32 + 16 + 5 + 1 + 1;
  return depth * 0x1p-24 * magnitude;
}

void ExpectExact(const DenseMatrix& matrix, std::span<const float> x,
                 const std::vector<float>& before, bool accumulate,
                 const std::vector<float>& got) {
  for (size_t i = 0; i < got.size(); ++i) {
    const size_t row = i / matrix.n;
    const int output = static_cast<int>(i % matrix.n);
    double want = accumulate ? before[i] : 0;
    double magnitude = std::abs(want);
    for (int column = 0; column < matrix.k; ++column) {
      const double product =
          WeightAt(matrix, output, column) * x[row * matrix.k + column];
      want += product;
      magnitude += std::abs(product);
    }
    ASSERT_NEAR(got[i], want, Tolerance(matrix.k, magnitude))
        << "row " << row << ", output " << output;
  }
}

struct Shape {
  int n;
  int k;
};

TEST(DenseMatmulTest, MatchesExactProducts) {
  constexpr Shape kShapes[] = {{1, 1},    {1, 32},   {7, 33},  {17, 96},
                               {31, 100}, {33, 544}, {65, 80}, {3, 1100}};
  for (const Type type : kTypes) {
    for (const Shape shape : kShapes) {
      const RandomDense layer(type, shape.n, shape.k, shape.k);
      const DeviceDense own(layer.view());
      for (const int rows : {1, 2, 3, 5, 8, 9, 19}) {
        SCOPED_TRACE(testing::Message()
                     << "type " << static_cast<int>(type) << ", " << shape.n
                     << " x " << shape.k << ", " << rows << " rows");
        const bool accumulate = rows % 2 == 0;
        const auto x = RandomFloats(static_cast<size_t>(rows) * shape.k, rows);
        const auto before =
            accumulate ? RandomFloats(static_cast<size_t>(rows) * shape.n, 7)
                       : std::vector<float>(rows * shape.n, kNan);
        ExpectExact(layer.view(), x, before, accumulate,
                    Multiply(own.view(), x, before, accumulate));
      }
    }
  }
}

TEST(DenseMatmulTest, RowsDoNotDependOnBatchMates) {
  constexpr Shape kShapes[] = {{33, 96}, {5, 601}};
  constexpr int kRows = 19;
  for (const Type type : kTypes) {
    for (const Shape shape : kShapes) {
      const RandomDense layer(type, shape.n, shape.k, 3);
      const DeviceDense own(layer.view());
      auto x = RandomFloats(static_cast<size_t>(kRows) * shape.k, 4);
      // Mates that are no numbers, beside every row that is looked at.
      for (int row = 0; row < kRows; row += 3) x[row * shape.k + row] = kNan;
      const auto before = RandomFloats(static_cast<size_t>(kRows) * shape.n, 5);
      for (const bool accumulate : {false, true}) {
        const auto together = Multiply(own.view(), x, before, accumulate);
        for (const int rows : {1, 2, 4, 7}) {
          for (int first = rows % 3; first + rows <= kRows; first += 2 * rows) {
            const auto y =
                std::span(before).subspan(first * shape.n, rows * shape.n);
            const auto got =
                Multiply(own.view(),
                         std::span(x).subspan(first * shape.k, rows * shape.k),
                         {y.begin(), y.end()}, accumulate);
            EXPECT_TRUE(SameBits(got, std::span(together).subspan(
                                          first * shape.n, rows * shape.n)))
                << rows << " rows from " << first;
          }
        }
        for (int row = 0; row < kRows; ++row) {
          EXPECT_EQ(std::isfinite(together[row * shape.n]), row % 3 != 0);
        }
      }
    }
  }
}

TEST(DenseMatmulTest, AlignmentDoesNotChangeResults) {
  constexpr Shape kShape = {9, 1056};
  constexpr int kRows = 5;
  const auto x = RandomFloats(kRows * kShape.k, 4);
  const std::vector<float> y(kRows * kShape.n);
  for (const Type type : kTypes) {
    const RandomDense layer(type, kShape.n, kShape.k, 3);
    const DeviceDense aligned(layer.view());
    const DeviceDense shifted(layer.view(), ElementBytes(type));
    const auto want = Multiply(aligned.view(), x, y, false);
    EXPECT_TRUE(SameBits(Multiply(shifted.view(), x, y, false), want));
    EXPECT_TRUE(SameBits(Multiply(aligned.view(), x, y, false, 1), want));
  }
}

TEST(DenseMatmulTest, ResultsDoNotDependOnTheOrderOfThreads) {
  constexpr Shape kShape = {70, 300};
  for (const Type type : kTypes) {
    const RandomDense layer(type, kShape.n, kShape.k, 3);
    const DeviceDense own(layer.view());
    for (const int rows : {1, 9}) {
      const auto x = RandomFloats(static_cast<size_t>(rows) * kShape.k, 6);
      const std::vector<float> y(rows * kShape.n);
      emulation::SetSeed(0);
      const auto want = Multiply(own.view(), x, y, false);
      for (uint64_t seed = 1; seed <= 4; ++seed) {
        emulation::SetSeed(seed);
        EXPECT_TRUE(SameBits(Multiply(own.view(), x, y, false), want))
            << "seed " << seed;
      }
    }
  }
  emulation::SetSeed(1);
}

TEST(DenseMatmulTest, WritesNothingBesideItsRows) {
  constexpr Shape kShape = {35, 40};
  constexpr int kRows = 3;
  const RandomDense layer(Type::kFloat16, kShape.n, kShape.k, 3);
  const DeviceDense own(layer.view());
  const DeviceVector<float> x(RandomFloats(kRows * kShape.k, 1));
  const auto before = RandomFloats((kRows + 2) * kShape.n, 2);
  const DeviceVector<float> y(before);
  ASSERT_EQ(MultiplyDense(own.view(), x.data(), kRows, y.data() + kShape.n,
                          false, nullptr),
            cudaSuccess);
  const auto after = y.Read();
  const size_t n = kShape.n;
  EXPECT_TRUE(SameBits(std::span(after).first(n), std::span(before).first(n)));
  EXPECT_TRUE(SameBits(std::span(after).last(n), std::span(before).last(n)));
}

TEST(DenseMatmulTest, EmbeddingReturnsTheStoredRowsExactly) {
  constexpr int kVocabulary = 77;
  constexpr int kDim = 325;
  const std::vector<int32_t> ids = {0, 76, 3, 3, 40};
  const DeviceVector<int32_t> device_ids(ids);
  for (const Type type : kTypes) {
    const RandomDense table(type, kVocabulary, kDim, 9);
    const DeviceDense own(table.view());
    const DeviceVector<float> y(std::vector<float>(ids.size() * kDim, kNan));
    ASSERT_EQ(EmbedDense(own.view(), device_ids.data(),
                         static_cast<int>(ids.size()), y.data(), nullptr),
              cudaSuccess);
    const auto got = y.Read();
    for (size_t i = 0; i < ids.size(); ++i) {
      for (int column = 0; column < kDim; ++column) {
        // A product of int8 and fp32 is rounded once.
        const double want = WeightAt(table.view(), ids[i], column);
        ASSERT_EQ(got[i * kDim + column], static_cast<float>(want));
      }
    }
  }
}

TEST(DenseMatmulTest, NoRowsAreNoWork) {
  const RandomDense layer(Type::kFloat32, 3, 5, 3);
  const DeviceDense own(layer.view());
  EXPECT_TRUE(Multiply(own.view(), {}, {}, false).empty());
  EXPECT_EQ(EmbedDense(own.view(), nullptr, 0, nullptr, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace anyprec
