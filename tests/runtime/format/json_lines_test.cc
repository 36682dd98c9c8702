#include "runtime/format/json_lines.h"

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

// What Next() says at the end or instead of the document after `read`.
absl::Status ReadAll(const std::string& path, std::vector<std::string>* read) {
  auto lines = JsonLines::Open(path);
  if (!lines.ok()) return lines.status();
  while (true) {
    const absl::StatusOr<bool> more = lines->Next();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    read->push_back(lines->where().substr(path.size()) + " " + lines->text());
  }
}

TEST(JsonLinesTest, ReadsTextsAndCountsLinesFromOne) {
  const ScratchFolder folder;
  std::vector<std::string> read;
  const absl::Status status =
      ReadAll(folder.Write("a.jsonl",
                           "{\"text\": \"a\"}\n\n{\"url\": 1, \"text\": \"\"}\n"
                           "{\"text\": \"c\"}"),
              &read);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(read, (std::vector<std::string>{":1 a", ":3 ", ":4 c"}));
}

TEST(JsonLinesTest, NamesTheLineThatIsMalformed) {
  const ScratchFolder folder;
  for (const std::string bad :
       {"{\"text\": ", "[1]", "{\"txt\": \"a\"}", "{\"text\": 3}"}) {
    std::vector<std::string> read;
    const std::string path =
        folder.Write("a.jsonl", "{\"text\": \"a\"}\n" + bad + "\n");
    ExpectError(ReadAll(path, &read), absl::StatusCode::kInvalidArgument,
                {path + ":2"});
    EXPECT_EQ(read.size(), 1u);
  }
}

TEST(JsonLinesTest, ReportsWhatCannotBeRead) {
  const ScratchFolder folder;
  std::vector<std::string> read;
  ExpectError(ReadAll(folder.File("none"), &read), absl::StatusCode::kNotFound,
              {folder.File("none")});
  // It opens; reading fails.
  std::filesystem::create_directory(folder.File("x.jsonl"));
  ExpectError(ReadAll(folder.File("x.jsonl"), &read),
              absl::StatusCode::kDataLoss, {folder.File("x.jsonl")});
}

}  // namespace
}  // namespace anyprec
