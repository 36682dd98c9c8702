#include "runtime/format/gguf.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

class GgufTest : public testing::Test {
 protected:
  absl::Status Open(const std::string& bytes) {
    auto file = GgufFile::Open(folder_.Write("t.gguf", bytes));
    if (!file.ok()) return file.status();
    file_ = *std::move(file);
    return absl::OkStatus();
  }

  // Expects DATA_LOSS that names the file and holds `parts`.
  void ExpectRefused(const GgufBuilder& builder,
                     std::vector<std::string> parts) {
    parts.push_back(folder_.File("t.gguf"));
    ExpectError(Open(builder.Build()), absl::StatusCode::kDataLoss, parts);
  }

  ScratchFolder folder_;
  std::unique_ptr<GgufFile> file_;
};

TEST_F(GgufTest, ReadsEveryMetadataTypeOfAnIndependentWriter) {
  const auto file = GgufFile::Open(TestData("blocks.gguf"));
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufFile& gguf = **file;
  EXPECT_EQ(gguf.GetUint("test.uint8").value(), 200u);
  EXPECT_EQ(gguf.GetInt("test.int8").value(), -100);
  EXPECT_EQ(gguf.GetUint("test.uint16").value(), 60000u);
  EXPECT_EQ(gguf.GetInt("test.int16").value(), -30000);
  EXPECT_EQ(gguf.GetUint("test.uint32").value(), 4000000000u);
  EXPECT_EQ(gguf.GetInt("test.int32").value(), -2000000000);
  EXPECT_EQ(gguf.GetInt("test.int64").value(), -(int64_t{1} << 62));
  EXPECT_EQ(gguf.GetFloat("test.float32").value(), 1.5);
  EXPECT_EQ(gguf.GetFloat("test.float64").value(), 0.1);
  EXPECT_EQ(gguf.GetFloat("test.uint8").value(), 200.0);
  EXPECT_TRUE(gguf.GetBool("test.bool").value());
  EXPECT_EQ(gguf.GetString("test.string").value(), "h\xc3\xa9llo");
  EXPECT_EQ(gguf.GetStringArray("test.strings").value(),
            (std::vector<std::string>{"a", "", "\xe4\xb8\xad\xe6\x96\x87"}));
  EXPECT_EQ(gguf.GetIntArray("test.ints").value(),
            (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(gguf.GetFloatArray("test.floats").value(),
            (std::vector<float>{0.5f, -1.25f}));
  EXPECT_EQ(gguf.keys().front(), "general.architecture");
}

TEST_F(GgufTest, AskingForAnotherTypeNamesTheKeyAndBothTypes) {
  const auto file = GgufFile::Open(TestData("blocks.gguf"));
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufFile& gguf = **file;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  ExpectError(gguf.GetString("none").status(), absl::StatusCode::kNotFound,
              {"blocks.gguf", "the key \"none\" is missing"});
  ExpectError(gguf.GetString("test.int8").status(), kInvalid,
              {"\"test.int8\" is a int8, needed is a string"});
  ExpectError(gguf.GetUint("test.int8").status(), kInvalid,
              {"\"test.int8\" is -100"});
  ExpectError(gguf.GetInt("test.uint64").status(), kInvalid, {"uint64"});
  ExpectError(gguf.GetInt("test.float32").status(), kInvalid,
              {"needed is an integer"});
  ExpectError(gguf.GetFloat("test.string").status(), kInvalid,
              {"needed is a number"});
  ExpectError(gguf.GetBool("test.uint8").status(), kInvalid,
              {"needed is a boolean"});
  ExpectError(gguf.GetStringArray("test.ints").status(), kInvalid,
              {"is an array of int32, needed is an array of string"});
  ExpectError(gguf.GetIntArray("test.floats").status(), kInvalid,
              {"needed is an array of integers"});
  ExpectError(gguf.GetIntArray("test.int8").status(), kInvalid, {"int8"});
  ExpectError(gguf.GetFloatArray("test.strings").status(), kInvalid,
              {"needed is an array of numbers"});
}

TEST_F(GgufTest, DimensionsAreTurnedRound) {
  GgufBuilder builder;
  builder.Floats("w", {3, 2}, {1, 2, 3, 4, 5, 6}).Floats("n", {1}, {7});
  ASSERT_TRUE(Open(builder.Build()).ok());
  EXPECT_EQ(file_->Find("w")->info.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file_->Find("n")->data.size(), 4u);
  EXPECT_EQ(file_->Find("none"), nullptr);
}

TEST_F(GgufTest, OtherVersionsMagicsAndByteOrdersAreRefused) {
  GgufBuilder builder;
  builder.magic = "GGML";
  ExpectRefused(builder, {"does not begin with \"GGUF\""});
  builder.magic = "GGUF";
  builder.version = 1;
  ExpectError(Open(builder.Build()), absl::StatusCode::kUnimplemented,
              {"GGUF version 1"});
  builder.version = 3u << 24;
  ExpectError(Open(builder.Build()), absl::StatusCode::kUnimplemented,
              {"big-endian"});
  builder.version = 2;
  EXPECT_TRUE(Open(builder.Build()).ok());
}

TEST_F(GgufTest, CountsBeyondTheFileAreRefusedBeforeAllocating) {
  GgufBuilder builder;
  builder.tensors = ~uint64_t{0};
  ExpectRefused(builder, {"18446744073709551615 tensors"});
  builder.tensors = 0;
  builder.pairs = uint64_t{1} << 40;
  ExpectRefused(builder, {"1099511627776 metadata pairs"});
  GgufBuilder array;
  array.Pair("k", 9, Bytes(uint32_t{8}) + Bytes(~uint64_t{0}));
  ExpectRefused(array, {"key \"k\""});
  GgufBuilder numbers;
  numbers.Pair("k", 9, Bytes(uint32_t{4}) + Bytes(uint64_t{1} << 62));
  ExpectRefused(numbers, {"key \"k\" has 4611686018427387904 values"});
  GgufBuilder text;
  text.Pair("k", 8, Bytes(~uint64_t{0}));
  ExpectRefused(text, {"key \"k\" needs 18446744073709551615 bytes"});
}

TEST_F(GgufTest, MalformedPairsAreRefusedNamingTheKey) {
  ExpectRefused(GgufBuilder().Pair("k", 13, ""), {"\"k\"", "value type 13"});
  ExpectRefused(
      GgufBuilder().Pair("k", 9, Bytes(uint32_t{9}) + Bytes(uint64_t{1})),
      {"\"k\" is an array of arrays"});
  ExpectRefused(GgufBuilder().Uint32("k", 1).Uint32("k", 2),
                {"\"k\" comes twice"});
  ExpectRefused(GgufBuilder().Uint32("k\xff", 1), {"k\\xff", "not UTF-8"});
  ExpectRefused(GgufBuilder().Uint32(std::string(300, 'k'), 1),
                {"a metadata key of 300 bytes"});
}

TEST_F(GgufTest, MalformedTensorsAreRefusedNamingThem) {
  const std::string data(64, 'x');
  const auto with = [&data](GgufBuilder builder) {
    builder.data = data;
    return builder;
  };
  using B = GgufBuilder;
  ExpectRefused(with(B().Tensor("t", {}, 0, 0)), {"\"t\" has 0 dimensions"});
  ExpectRefused(with(B().Tensor("t", {1, 1, 1, 1, 1}, 0, 0)),
                {"\"t\" has 5 dimensions"});
  ExpectRefused(with(B().Tensor("t", {4, 0}, 0, 0)),
                {"\"t\": dimension 1 is 0"});
  ExpectRefused(with(B().Tensor("t", {1u << 31, 1u << 31, 8}, 0, 0)),
                {"\"t\": [8, 2147483648, 2147483648]", "too large"});
  ExpectRefused(with(B().Tensor("t", {33}, 8, 0)),
                {"no whole number of Q8_0 blocks"});
  ExpectRefused(with(B().Tensor("t", {17}, 0, 0)),
                {"\"t\": 68 bytes at offset 0", "64 bytes of data"});
  ExpectRefused(with(B().Tensor("t", {1}, 0, ~uint64_t{31})),
                {"\"t\": 4 bytes at offset 18446744073709551584"});
  ExpectRefused(with(B().Tensor("t", {1}, 0, 4)),
                {"\"t\": offset 4, needed is a multiple of 32"});
  ExpectRefused(with(B().Tensor("t", {9}, 0, 0).Tensor("u", {8}, 0, 32)),
                {"\"u\" at offset 32 overlaps \"t\", 36 bytes at offset 0"});
  ExpectRefused(with(B().Tensor("t", {8}, 0, 0).Tensor("t", {8}, 0, 32)),
                {"\"t\" comes twice"});
  ExpectRefused(with(B().Tensor("t\xc0", {8}, 0, 0)), {"t\\xc0", "not UTF-8"});
  ExpectError(Open(with(B().Tensor("t", {256}, 10, 0)).Build()),
              absl::StatusCode::kUnimplemented, {"\"t\" has GGUF type 10"});
  ExpectRefused(with(B().Uint32("general.alignment", 24)),
                {"general.alignment is 24"});
}

TEST_F(GgufTest, EveryTruncationIsRefused) {
  const std::string whole = ReadBytes(TestData("blocks.gguf"));
  ASSERT_TRUE(Open(whole).ok());
  // The writer pads the last tensor: those bytes nobody needs.
  const GgufFile::Tensor& last = file_->tensors().back();
  const auto used = static_cast<size_t>(last.data.data() + last.data.size() -
                                        file_->mapping().bytes().data());
  for (size_t size = 0; size < used; size += size < 64 ? 1 : 13) {
    EXPECT_FALSE(Open(whole.substr(0, size)).ok()) << size;
  }
}

TEST_F(GgufTest, MetadataCopyKeepsTheChosenPairsByteForByte) {
  GgufBuilder source;
  source.Uint32("general.x", 1)
      .Text("tokenizer.a", "text")
      .Uint32("other", 2)
      .Pair("tokenizer.list", 9,
            Bytes(uint32_t{8}) + Bytes(uint64_t{2}) + GgufBuilder::String("p") +
                GgufBuilder::String(""))
      .Floats("w", {1}, {1.0f});
  ASSERT_TRUE(Open(source.Build()).ok());
  const std::string path = folder_.File("copy.gguf");
  const std::vector<std::string> prefixes = {"tokenizer."};
  ASSERT_TRUE(file_->WriteMetadata(path, prefixes).ok());
  const auto copy = GgufFile::Open(path);
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(
      std::vector<std::string>((*copy)->keys().begin(), (*copy)->keys().end()),
      (std::vector<std::string>{"tokenizer.a", "tokenizer.list"}));
  EXPECT_EQ((*copy)->GetString("tokenizer.a").value(), "text");
  EXPECT_EQ((*copy)->GetStringArray("tokenizer.list").value(),
            (std::vector<std::string>{"p", ""}));
  EXPECT_TRUE((*copy)->tensors().empty());
}

}  // namespace
}  // namespace anyprec
