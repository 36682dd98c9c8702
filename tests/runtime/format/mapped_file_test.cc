#include "runtime/format/mapped_file.h"

#include <sys/stat.h>

#include <string>

#include "gtest/gtest.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

TEST(MappedFileTest, ShowsTheBytesOfTheFile) {
  const ScratchFolder folder;
  const std::string path = folder.Write("f", "abc");
  const auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>((*file)->bytes()[2]), 'c');
}

TEST(MappedFileTest, AnEmptyFileIsAnEmptySpan) {
  const ScratchFolder folder;
  const auto file = MappedFile::Open(folder.Write("f", ""));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->bytes().empty());
  (*file)->DropPages((*file)->bytes());
}

TEST(MappedFileTest, DroppedPagesReadTheSameAgain) {
  const ScratchFolder folder;
  const auto file =
      MappedFile::Open(folder.Write("f", std::string(100'000, 'q')));
  ASSERT_TRUE(file.ok()) << file.status();
  (*file)->DropPages((*file)->bytes().subspan(1, 99'000));
  for (const std::byte byte : (*file)->bytes()) {
    ASSERT_EQ(byte, std::byte{'q'});
  }
}

TEST(MappedFileTest, MissingAndSpecialFilesAreErrorsThatNameThem) {
  const ScratchFolder folder;
  ExpectError(MappedFile::Open(folder.File("none")).status(),
              absl::StatusCode::kNotFound, {folder.File("none")});
  ExpectError(MappedFile::Open(folder.path()).status(),
              absl::StatusCode::kInvalidArgument,
              {folder.path(), "not a regular file"});
  ASSERT_EQ(mkfifo(folder.File("pipe").c_str(), 0600), 0);
  ExpectError(MappedFile::Open(folder.File("pipe")).status(),
              absl::StatusCode::kInvalidArgument, {"pipe"});
}

TEST(ReadSmallFileTest, RefusesFilesAboveTheLimit) {
  const ScratchFolder folder;
  const std::string path = folder.Write("f", "12345");
  EXPECT_EQ(ReadSmallFile(path, 5).value(), "12345");
  ExpectError(ReadSmallFile(path, 4).status(),
              absl::StatusCode::kResourceExhausted, {path, "5 bytes", "4"});
}

}  // namespace
}  // namespace anyprec
