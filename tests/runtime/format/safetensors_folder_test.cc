#include "runtime/format/safetensors_folder.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

constexpr char kIndex[] = "model.safetensors.index.json";

// A file with one tensor of four bytes.
std::string OneTensor(absl::string_view name) {
  return Safetensors(
      absl::StrCat("{\"", name,
                   R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})"),
      "1234");
}

TEST(SafetensorsFolderTest, ReadsASingleFile) {
  const ScratchFolder folder;
  folder.Write("model.safetensors", OneTensor("a"));
  const auto opened = SafetensorsFolder::Open(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  ASSERT_NE((*opened)->Find("a"), nullptr);
  EXPECT_EQ((*opened)->Find("b"), nullptr);
}

TEST(SafetensorsFolderTest, ReadsTheShardsOfAnIndex) {
  const ScratchFolder folder;
  folder.Write("x.safetensors", OneTensor("a"));
  folder.Write("y.safetensors", OneTensor("b"));
  folder.Write(kIndex, R"({"metadata":{}, "weight_map":{
      "a":"x.safetensors","b":"y.safetensors"}})");
  const auto opened = SafetensorsFolder::Open(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->Find("b")->file->path(), folder.File("y.safetensors"));
}

TEST(SafetensorsFolderTest, AnEmptyFolderSaysWhatWasLookedFor) {
  const ScratchFolder folder;
  ExpectError(SafetensorsFolder::Open(folder.path()).status(),
              absl::StatusCode::kNotFound,
              {folder.path(), "neither model.safetensors nor", kIndex});
}

TEST(SafetensorsFolderTest, BrokenIndicesAreErrorsThatNameTheCulprit) {
  const ScratchFolder folder;
  folder.Write("x.safetensors", OneTensor("a"));
  folder.Write("y.safetensors", OneTensor("a"));
  const struct {
    std::string index;
    absl::StatusCode code;
    std::vector<std::string> parts;
  } cases[] = {
      {"{}", absl::StatusCode::kInvalidArgument, {kIndex, "weight_map"}},
      {"{", absl::StatusCode::kInvalidArgument, {kIndex, "JSON"}},
      {R"({"weight_map":{"a":1}})",
       absl::StatusCode::kInvalidArgument,
       {kIndex, "tensor \"a\"", "name of a file"}},
      {R"({"weight_map":{"a":"../x.safetensors"}})",
       absl::StatusCode::kInvalidArgument,
       {"tensor \"a\"", "same folder"}},
      {R"({"weight_map":{"a":"none.safetensors"}})",
       absl::StatusCode::kNotFound,
       {folder.File("none.safetensors")}},
      {R"({"weight_map":{"b":"x.safetensors"}})",
       absl::StatusCode::kDataLoss,
       {"tensor \"b\" is not in x.safetensors"}},
      {R"({"weight_map":{"a":"x.safetensors","b":"y.safetensors"}})",
       absl::StatusCode::kDataLoss,
       {"y.safetensors: tensor \"a\" is in", "x.safetensors too"}},
  };
  for (const auto& test : cases) {
    folder.Write(kIndex, test.index);
    ExpectError(SafetensorsFolder::Open(folder.path()).status(), test.code,
                test.parts);
  }
}

}  // namespace
}  // namespace anyprec
