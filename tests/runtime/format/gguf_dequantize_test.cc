#include "runtime/format/gguf_dequantize.h"

#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/format/gguf.h"
#include "runtime/format/safetensors.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

// testdata/make_golden.py: blocks of random bytes, and the values that the
// `gguf` package gives them. Both sides compute in fp32 in the order of the
// definition, so the values are equal to the last bit.
TEST(GgufDequantizeTest, EveryTypeReadsAsTheGgufPackageReadsIt) {
  const auto blocks = GgufFile::Open(TestData("blocks.gguf"));
  ASSERT_TRUE(blocks.ok()) << blocks.status();
  const auto golden = SafetensorsFile::Open(TestData("blocks.safetensors"));
  ASSERT_TRUE(golden.ok()) << golden.status();
  ASSERT_EQ((*blocks)->tensors().size(), 11u);
  for (const GgufFile::Tensor& tensor : (*blocks)->tensors()) {
    EXPECT_EQ(DTypeName(tensor.info.dtype), tensor.info.name);
    const SafetensorsFile::Tensor* expected = (*golden)->Find(tensor.info.name);
    ASSERT_NE(expected, nullptr) << tensor.info.name;
    EXPECT_EQ(tensor.info.shape, expected->info.shape);
    std::vector<float> values(
        static_cast<size_t>(*NumElements(tensor.info.shape)));
    Dequantize(tensor.info.dtype, tensor.data, values);
    std::vector<float> needed(values.size());
    ASSERT_EQ(expected->data.size(), needed.size() * sizeof(float));
    std::memcpy(needed.data(), expected->data.data(), expected->data.size());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], needed[i]) << tensor.info.name << " " << i;
    }
  }
}

TEST(GgufDequantizeTest, DoubleIsNarrowed) {
  const std::vector<double> doubles = {0.5, -3.25};
  std::vector<float> values(2);
  Dequantize(DType::kF64, std::as_bytes(std::span(doubles)), values);
  EXPECT_EQ(values, (std::vector<float>{0.5f, -3.25f}));
}

TEST(GgufDequantizeTest, IntegerTypesAreNoNumberFormat) {
  EXPECT_FALSE(CanDequantize(DType::kI32));
  EXPECT_FALSE(CanDequantize(DType::kF8E4M3));
  EXPECT_TRUE(CanDequantize(DType::kQ6_K));
}

}  // namespace
}  // namespace anyprec
