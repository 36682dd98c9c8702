#include "runtime/format/json.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

TEST(JsonTest, ParsesAnObject) {
  const auto document = ParseJsonObject(R"({"a": [1, {"b": null}]})", "f");
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ((*document)["a"][0], 1);
}

TEST(JsonTest, TheSameKeyInTwoObjectsIsFine) {
  EXPECT_TRUE(ParseJsonObject(R"({"a": {"x": 1}, "b": {"x": 1}})", "f").ok());
}

TEST(JsonTest, FaultsAreErrorsThatNameTheSource) {
  const struct {
    std::string text;
    std::string message;
  } cases[] = {
      {"", "f: not valid JSON at byte"},
      {"{\"a\": 1", "f: not valid JSON at byte"},
      {"{\"a\": 1} x", "f: not valid JSON at byte"},
      {"{\"a\": \"\xff\"}", "f: not valid JSON at byte"},
      {"{\"a\": 1e999}", "f: not valid JSON"},
      {"[1, 2]", "f: the JSON is of type array, needed is an object"},
      {"{\"a\": 1, \"a\": 2}", "the key \"a\" twice"},
      {"{\"o\": {\"a\": 1, \"a\": 2}}", "the key \"a\" twice"},
      {"{\"a\":" + std::string(40, '[') + std::string(40, ']') + "}",
       "f: the JSON nests deeper than 32 levels"},
  };
  for (const auto& test : cases) {
    ExpectError(ParseJsonObject(test.text, "f").status(),
                absl::StatusCode::kInvalidArgument, {test.message});
  }
}

TEST(JsonTest, AMillionLevelsNeitherOverflowTheStackNorStayInMemory) {
  constexpr size_t kLevels = 1'000'000;
  for (const std::string level : {"[", "{\"a\":"}) {
    std::string text = "{\"a\":";
    for (size_t i = 0; i < kLevels; ++i) text += level;
    ExpectError(ParseJsonObject(text, "f").status(),
                absl::StatusCode::kInvalidArgument, {"f: the JSON nests"});
  }
}

}  // namespace
}  // namespace anyprec
