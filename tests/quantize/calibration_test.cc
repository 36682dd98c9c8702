#include "quantize/calibration.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/quantize/tiny_checkpoint.h"

namespace anyprec {
namespace {

// A token for each byte, and BOS, number 256, before a text.
class ByteTokenizer : public Tokenizer {
 public:
  ByteTokenizer() : Tokenizer(SpecialTokens{.bos = 256}) {}

  absl::StatusOr<std::vector<TokenId>> Encode(
      absl::string_view text, const EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    if (options.add_special) ids.push_back(256);
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  int vocab_size() const override { return 257; }
  std::string TokenBytes(TokenId) const override { return ""; }
  std::string ControlText(TokenId) const override { return ""; }
  std::optional<TokenId> FindControl(absl::string_view) const override {
    return std::nullopt;
  }
  bool IsControl(TokenId id) const override { return id == 256; }
};

class CalibrationTest : public testing::Test {
 protected:
  absl::StatusOr<std::vector<std::vector<int32_t>>> Read(
      const std::string& name, const std::string& text, int documents,
      int tokens) {
    WriteFile(folder_ / name, text);
    return ReadCalibration(
        {.path = folder_ / name, .documents = documents, .tokens = tokens},
        ByteTokenizer());
  }

  TemporaryFolder folder_;
};

using Sequences = std::vector<std::vector<int32_t>>;

TEST_F(CalibrationTest, CutsLongDocumentsAndPassesOverShortOnes) {
  const auto sequences = Read("a.jsonl",
                              "{\"text\": \"abcdef\"}\n"
                              "{\"text\": \"gh\", \"url\": 1}\n"
                              "\n"
                              "{\"text\": \"ijk\"}\n"
                              "{\"text\": \"lmnop\"}\n",
                              2, 4);
  ASSERT_TRUE(sequences.ok()) << sequences.status();
  EXPECT_EQ(*sequences,
            (Sequences{{256, 'a', 'b', 'c'}, {256, 'i', 'j', 'k'}}));
}

TEST_F(CalibrationTest, CutsAPlainTextIntoConsecutiveSequences) {
  const auto sequences = Read("a.txt", "abcdefgh", 100, 3);
  ASSERT_TRUE(sequences.ok()) << sequences.status();
  EXPECT_EQ(*sequences,
            (Sequences{{256, 'a', 'b'}, {'c', 'd', 'e'}, {'f', 'g', 'h'}}));
}

TEST_F(CalibrationTest, StopsAtTheNumberWanted) {
  const auto sequences = Read("a.txt", std::string(100, 'x'), 2, 3);
  ASSERT_TRUE(sequences.ok()) << sequences.status();
  EXPECT_EQ(sequences->size(), 2u);
}

TEST_F(CalibrationTest, ReportsTheLongestDocumentWhereAllAreTooShort) {
  const absl::Status status =
      Read("a.jsonl", "{\"text\": \"abc\"}\n{\"text\": \"d\"}\n", 2, 5)
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("has 4 tokens"), absl::string_view::npos)
      << status;
}

TEST_F(CalibrationTest, NamesTheLineThatIsMalformed) {
  const absl::Status status =
      Read("a.jsonl", "{\"text\": \"a\"}\n[1]\n", 9, 2).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("a.jsonl:2"), absl::string_view::npos)
      << status;
}

TEST_F(CalibrationTest, ReportsAFolder) {
  for (const std::string name : {"x.txt", "x.jsonl"}) {
    std::filesystem::create_directory(folder_ / name);
    const absl::Status status =
        ReadCalibration({.path = folder_ / name}, ByteTokenizer()).status();
    EXPECT_NE(status.message().find(name), absl::string_view::npos) << status;
    EXPECT_EQ(status.message().find("longest"), absl::string_view::npos)
        << status;
  }
}

TEST_F(CalibrationTest, ReportsAMissingFile) {
  for (const std::string name : {"none.txt", "none.jsonl"}) {
    EXPECT_EQ(ReadCalibration({.path = folder_ / name}, ByteTokenizer())
                  .status()
                  .code(),
              absl::StatusCode::kNotFound);
  }
}

}  // namespace
}  // namespace anyprec
