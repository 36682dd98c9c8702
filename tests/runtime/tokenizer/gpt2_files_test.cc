#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/tokenizer/test_files.h"

namespace anyprec {
namespace {

class Gpt2FilesTest : public testing::Test {
 protected:
  Gpt2FilesTest() : folder_(MakeTestFolder("gpt2_files")) {
    Write("vocab.json",
          R"({"a": 0, "b": 1, "\u0120": 2, "ab": 3, "<|endoftext|>": 4})");
    Write("merges.txt", "#version: 0.2\na b\n");
  }
  void Write(const std::string& name, const std::string& text) {
    WriteText(folder_ + "/" + name, text);
  }
  void ExpectError(const std::string& message) {
    const absl::Status status = Tokenizer::Load(folder_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), message)) << status;
  }

  const std::string folder_;
};

TEST_F(Gpt2FilesTest, EncodesAndKnowsItsOnlyControlToken) {
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  using Ids = std::vector<TokenId>;
  EXPECT_EQ(*(*tokenizer)->Encode("ab ab", {}), (Ids{3, 2, 3}));
  EXPECT_EQ(*(*tokenizer)->Encode("a<|endoftext|>", {.parse_special = true}),
            (Ids{0, 4}));
  EXPECT_EQ((*tokenizer)->eos_ids(), (Ids{4}));
  EXPECT_EQ((*tokenizer)->Decode(Ids{3, 2, 4, 0}, true), "ab a");
}

TEST_F(Gpt2FilesTest, NamesTheLineThatIsMalformed) {
  Write("merges.txt", "a b\r\n\na b c\n");
  ExpectError("merges.txt: line 3");
  Write("merges.txt", "a c\n");
  ExpectError("\"c\" is not in the vocabulary");
  Write("merges.txt", "");
  Write("vocab.json", R"({"a": "0"})");
  ExpectError("vocab.json: a");
  Write("vocab.json", R"({"a": 0, "b": 0})");
  ExpectError("id 0 belongs to");
  Write("vocab.json", "{}");
  ExpectError("the vocabulary is empty");
  Write("vocab.json", "{\"a\": 0, \"\xFF\": 1}");
  ExpectError("vocab.json");
}

}  // namespace
}  // namespace anyprec
