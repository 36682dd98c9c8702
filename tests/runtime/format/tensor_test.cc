#include "runtime/format/tensor.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/types.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

TEST(TensorTest, SizesAreElementsTimesBlockBytes) {
  const std::vector<int64_t> shape = {3, 512};
  EXPECT_EQ(NumElements(shape), 1536);
  EXPECT_EQ(NumBytes(DType::kBF16, shape), 3072);
  EXPECT_EQ(NumBytes(DType::kQ6_K, shape), 3 * 2 * 210);
  EXPECT_EQ(NumBytes(DType::kQ4_0, shape), 3 * 16 * 18);
}

TEST(TensorTest, AScalarHasOneElementAndAZeroDimensionNone) {
  EXPECT_EQ(NumElements({}), 1);
  EXPECT_EQ(NumElements(std::vector<int64_t>{4, 0, 5}), 0);
}

TEST(TensorTest, SizesThatOverflowHaveNoNumber) {
  const int64_t big = int64_t{1} << 40;
  EXPECT_FALSE(NumElements(std::vector<int64_t>{big, big}).has_value());
  EXPECT_FALSE(NumElements(std::vector<int64_t>{-1, 2}).has_value());
  EXPECT_FALSE(NumBytes(DType::kF64, std::vector<int64_t>{int64_t{1} << 61})
                   .has_value());
}

TEST(TensorTest, RowsOfBlocksMustBeWholeBlocks) {
  EXPECT_FALSE(
      NumBytes(DType::kQ4_K, std::vector<int64_t>{8, 128}).has_value());
  EXPECT_FALSE(NumBytes(DType::kQ8_0, {}).has_value());
}

TEST(TensorTest, Utf8IsToldFromWhatIsNot) {
  EXPECT_TRUE(IsValidUtf8("plain \xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80"));
  EXPECT_FALSE(IsValidUtf8("\x80"));              // a tail without a lead
  EXPECT_FALSE(IsValidUtf8("\xc3"));              // a lead without a tail
  EXPECT_FALSE(IsValidUtf8("\xc0\xaf"));          // an over-long form
  EXPECT_FALSE(IsValidUtf8("\xed\xa0\x80"));      // a surrogate
  EXPECT_FALSE(IsValidUtf8("\xf4\x90\x80\x80"));  // beyond Unicode
}

TEST(TensorTest, NamesInMessagesArePrintableAndShort) {
  EXPECT_EQ(PrintableName("a\xff\n"), "a\\xff\\n");
  EXPECT_LT(PrintableName(std::string(10000, 'x')).size(), 200u);
}

TEST(TensorTest, FirstNonFiniteElementIsNamed) {
  std::vector<float> floats(1000, 1.0f);
  const auto bytes = std::as_bytes(std::span(floats));
  EXPECT_TRUE(CheckFinite(DType::kF32, bytes, "t").ok());
  floats[700] = -std::numeric_limits<float>::infinity();
  floats[701] = std::nanf("");
  ExpectError(CheckFinite(DType::kF32, bytes, "t"), absl::StatusCode::kDataLoss,
              {"t: element 700 is infinite"});

  std::vector<uint16_t> halves(100, ToFloat16(65504.0f).bits);
  const auto half_bytes = std::as_bytes(std::span(halves));
  EXPECT_TRUE(CheckFinite(DType::kF16, half_bytes, "t").ok());
  halves[3] = 0xfe00;
  ExpectError(CheckFinite(DType::kF16, half_bytes, "t"),
              absl::StatusCode::kDataLoss, {"element 3 is NaN"});
  halves[3] = 0x7f80;
  ExpectError(CheckFinite(DType::kBF16, half_bytes, "t"),
              absl::StatusCode::kDataLoss, {"element 3 is infinite"});
}

TEST(TensorTest, ToFloatsConvertsEveryFloatType) {
  const std::vector<float> values = {1.0f, -0.5f, 2.0f};
  std::vector<Float16> halves;
  std::vector<BFloat16> brains;
  for (const float value : values) {
    halves.push_back(ToFloat16(value));
    brains.push_back(ToBFloat16(value));
  }
  DenseTensor tensor;
  tensor.dtype = DType::kF32;
  tensor.data = std::as_bytes(std::span(values));
  EXPECT_EQ(ToFloats(tensor, "t").value(), values);
  tensor.dtype = DType::kF16;
  tensor.data = std::as_bytes(std::span(halves));
  EXPECT_EQ(ToFloats(tensor, "t").value(), values);
  tensor.dtype = DType::kBF16;
  tensor.data = std::as_bytes(std::span(brains));
  EXPECT_EQ(ToFloats(tensor, "t").value(), values);
  tensor.dtype = DType::kI8;
  ExpectError(ToFloats(tensor, "t").status(),
              absl::StatusCode::kInvalidArgument, {"t: type I8"});
}

TEST(TensorTest, OwnedMemoryIsAlignedForVectors) {
  for (const size_t size : {0, 1, 63, 64, 65, 1000}) {
    const AlignedBytes bytes(size);
    EXPECT_EQ(bytes.span().size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.span().data()) %
                  AlignedBytes::kAlignment,
              0u);
  }
}

}  // namespace
}  // namespace anyprec
