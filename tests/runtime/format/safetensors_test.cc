#include "runtime/format/safetensors.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

class SafetensorsTest : public testing::Test {
 protected:
  absl::Status Open(const std::string& bytes) {
    auto file = SafetensorsFile::Open(folder_.Write("t.safetensors", bytes));
    if (!file.ok()) return file.status();
    file_ = *std::move(file);
    return absl::OkStatus();
  }

  // Expects an error that names the file and holds `parts`.
  void ExpectRefused(const std::string& bytes, std::vector<std::string> parts) {
    parts.push_back(folder_.File("t.safetensors"));
    ExpectError(Open(bytes), absl::StatusCode::kDataLoss, parts);
  }

  ScratchFolder folder_;
  std::unique_ptr<SafetensorsFile> file_;
};

TEST_F(SafetensorsTest, ReadsTensorsAndMetadataInTheOrderOfTheirData) {
  ASSERT_TRUE(
      Open(Safetensors(
               R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},
                           "__metadata__":{"k":"v"},
                           "a":{"dtype":"BF16","shape":[1,2],
                                "data_offsets":[0,4]}}   )",
               "0123" + BytesOf<float>({1.5f, -2.0f})))
          .ok());
  ASSERT_EQ(file_->tensors().size(), 2u);
  EXPECT_EQ(file_->tensors()[0].info.name, "a");
  const SafetensorsFile::Tensor* b = file_->Find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->info.dtype, DType::kF32);
  EXPECT_EQ(b->info.shape, std::vector<int64_t>{2});
  EXPECT_EQ(
      std::memcmp(b->data.data(), BytesOf<float>({1.5f, -2.0f}).data(), 8), 0);
  EXPECT_EQ(file_->Find("c"), nullptr);
  EXPECT_EQ(file_->metadata().at("k"), "v");
}

TEST_F(SafetensorsTest, ScalarsAndEmptyTensorsAreAllowed) {
  ASSERT_TRUE(
      Open(Safetensors(
               R"({"scalar":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
                           "none":{"dtype":"F32","shape":[0,7],
                                   "data_offsets":[0,0]}})",
               "1234"))
          .ok());
  EXPECT_TRUE(file_->Find("none")->data.empty());
  EXPECT_EQ(file_->Find("scalar")->data.size(), 4u);
}

TEST_F(SafetensorsTest, AFileWithoutTensorsIsAllowed) {
  EXPECT_TRUE(Open(Safetensors("{}", "")).ok());
}

TEST_F(SafetensorsTest, HeaderLengthsBeyondTheFileAreRefused) {
  ExpectRefused("", {"0 bytes, needed are at least 8"});
  ExpectRefused("1234567", {"7 bytes"});
  ExpectRefused(Bytes(uint64_t{100}) + "{}", {"header of 100 bytes"});
  ExpectRefused(Bytes(~uint64_t{0}) + "{}", {"header of 18446744073709551615"});
  ExpectRefused(Bytes(uint64_t{0}) + "{}", {"not valid JSON"});
  // Above the limit, even though the file has it.
  const std::string large(SafetensorsFile::kMaxHeaderBytes + 1, ' ');
  ExpectRefused(Safetensors(large, ""), {"at most 8388608"});
}

TEST_F(SafetensorsTest, EveryTruncationIsRefused) {
  const std::string whole = Safetensors(
      R"({"a":{"dtype":"F16","shape":[3],"data_offsets":[0,6]}})", "123456");
  ASSERT_TRUE(Open(whole).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    ExpectRefused(whole.substr(0, size), {});
  }
}

TEST_F(SafetensorsTest, MalformedHeadersAreRefusedNamingTheTensor) {
  const struct {
    std::string header;
    std::string message;
  } cases[] = {
      {"[]", "header holds an array"},
      {"{", "not valid JSON"},
      {"{} x", "not valid JSON"},
      {R"({"a":1})", "tensor \"a\": entry holds a number"},
      {R"({"a":{}})", "tensor \"a\": entry holds no dtype"},
      {R"({"a":{"dtype":"F32"}})", "entry holds no shape"},
      {R"({"a":{"dtype":"F32","shape":[]}})", "entry holds no data_offsets"},
      {R"({"a":{"dtype":"F99","shape":[],"data_offsets":[0,4]}})",
       "tensor \"a\": dtype holds the unknown type \"F99\""},
      {R"({"a":{"dtype":"Q4_0","shape":[],"data_offsets":[0,4]}})",
       "unknown type"},
      {R"({"a":{"dtype":4,"shape":[],"data_offsets":[0,4]}})",
       "dtype holds a number"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})",
       "shape holds the negative number -1"},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})",
       "shape holds the number 1.0"},
      {R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})",
       "shape holds a string"},
      {R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})",
       "shape holds an array"},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],
           "data_offsets":[0,4]}})",
       "shape holds more than 8 dimensions"},
      {R"({"a":{"dtype":"F32","shape":[9223372036854775807],
           "data_offsets":[0,4]}})",
       "shape holds the dimension 9223372036854775807"},
      {R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0]}})",
       "data_offsets holds 1 numbers, needed are 2"},
      {R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4,8]}})",
       "data_offsets holds more than 2"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})",
       "dtype holds the field twice"},
      {R"({"a":{"dtype":"F32","shape":[],"shape":[],"data_offsets":[0,4]}})",
       "shape holds the field twice"},
      {R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1}})",
       "x holds an unknown field"},
      {R"({"__metadata__":{"k":1}})", "\"__metadata__\": k holds a number"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", "k holds the key twice"},
      {"{\"a\xff\":{}}", "not valid JSON"},
      {std::string(1 << 20, '['), "header holds an array"},
      {R"({"a":)" + std::string(1 << 20, '{'), "not valid JSON"},
  };
  for (const auto& test : cases) {
    ExpectRefused(Safetensors(test.header, "1234"), {test.message});
  }
}

TEST_F(SafetensorsTest, OffsetsMustLieInTheFileAndMatchTheShape) {
  const auto header = [](const char* shape, const char* offsets) {
    return std::string(R"({"a":{"dtype":"F32","shape":)") + shape +
           R"(,"data_offsets":)" + offsets + "}}";
  };
  ExpectRefused(Safetensors(header("[1]", "[0,8]"), "1234"),
                {"tensor \"a\": data_offsets [0, 8]", "4 bytes of data"});
  ExpectRefused(Safetensors(header("[1]", "[4,0]"), "1234"),
                {"tensor \"a\": data_offsets [4, 0]"});
  ExpectRefused(
      Safetensors(header("[1]", "[18446744073709551612,18446744073709551615]"),
                  "1234"),
      {"data_offsets [18446744073709551612"});
  ExpectRefused(Safetensors(header("[2]", "[0,4]"), "1234"),
                {"tensor \"a\": 4 bytes of data, F32 [2] needs 8"});
  ExpectRefused(Safetensors(header("[4294967296,4294967296]", "[0,4]"), "1234"),
                {"needs more than 2^62"});
}

TEST_F(SafetensorsTest, OverlapsGapsAndLeftoversAreRefused) {
  const auto two = [](const char* first, const char* second) {
    return std::string(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)") +
           first + R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" +
           second + "}}";
  };
  EXPECT_TRUE(Open(Safetensors(two("[0,2]", "[2,4]"), "1234")).ok());
  ExpectRefused(Safetensors(two("[0,2]", "[1,3]"), "123"),
                {"tensor \"b\": data begins at 1, inside the data before it"});
  ExpectRefused(Safetensors(two("[0,2]", "[0,2]"), "12"),
                {"data begins at 0, inside"});
  ExpectRefused(Safetensors(two("[0,2]", "[3,5]"), "12345"),
                {"tensor \"b\": data begins at 3, after a gap"});
  ExpectRefused(Safetensors(two("[0,2]", "[2,4]"), "12345"),
                {"5 bytes of data, the tensors take 4"});
}

TEST_F(SafetensorsTest, ATensorDeclaredTwiceIsRefused) {
  ExpectRefused(
      Safetensors(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
                      "a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                  "1234"),
      {"tensor \"a\" is declared twice"});
}

}  // namespace
}  // namespace anyprec
