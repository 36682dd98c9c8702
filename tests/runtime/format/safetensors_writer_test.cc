#include "runtime/format/safetensors_writer.h"

#include <filesystem>
#include <string>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "runtime/format/crc32c.h"
#include "runtime/format/safetensors_folder.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

using TensorSpec = SafetensorsWriter::TensorSpec;

std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::vector<TensorSpec> TwoTensors() {
  return {{{"planes", DType::kU8, {2, 3}}, 2}, {{"norm", DType::kF32, {1}}, 0}};
}

TEST(SafetensorsWriterTest, ReaderSeesWhatWasAppendedInAnyOrder) {
  const ScratchFolder folder;
  auto writer = SafetensorsWriter::Create(folder.path(), TwoTensors(), {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Append("norm", AsBytes("wxyz")).ok());
  ASSERT_TRUE((*writer)->Append("planes", AsBytes("ab")).ok());
  ASSERT_TRUE((*writer)->Append("planes", AsBytes("cdef")).ok());
  EXPECT_FALSE(std::filesystem::exists(folder.File("model.safetensors")));
  ASSERT_TRUE((*writer)->Finish().ok());

  const auto file = SafetensorsFile::Open(folder.File("model.safetensors"));
  ASSERT_TRUE(file.ok()) << file.status();
  const auto bytes = (*file)->Find("planes")->data;
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), 6),
            "abcdef");
  EXPECT_EQ((*file)->metadata().at("crc32c:planes"),
            absl::StrFormat("%08x %08x", Crc32c(AsBytes("abc")),
                            Crc32c(AsBytes("def"))));
  EXPECT_FALSE((*file)->metadata().contains("crc32c:norm"));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.data()) % 64, 0u);
}

TEST(SafetensorsWriterTest, AnUnfinishedTensorKeepsTheFileFromAppearing) {
  const ScratchFolder folder;
  auto writer = SafetensorsWriter::Create(folder.path(), TwoTensors(), {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Append("planes", AsBytes("abcde")).ok());
  ExpectError((*writer)->Finish(), absl::StatusCode::kFailedPrecondition,
              {"tensor \"planes\" has 5 of 6 bytes"});
  EXPECT_FALSE(std::filesystem::exists(folder.File("model.safetensors")));
}

TEST(SafetensorsWriterTest, ShardsAboveTheLimitWithAnIndex) {
  const ScratchFolder folder;
  std::vector<TensorSpec> specs;
  for (const char* name : {"a", "b", "c"}) {
    specs.push_back({{name, DType::kU8, {4}}, 1});
  }
  SafetensorsWriter::Options options;
  options.max_shard_bytes = 8;
  auto writer = SafetensorsWriter::Create(folder.path(), specs, options);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const char* name : {"c", "a", "b"}) {
    ASSERT_TRUE((*writer)->Append(name, AsBytes("1234")).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
  const auto opened = SafetensorsFolder::Open(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->Find("b")->file->path(),
            folder.File("model-00001-of-00002.safetensors"));
  EXPECT_EQ((*opened)->Find("c")->file->path(),
            folder.File("model-00002-of-00002.safetensors"));
}

TEST(SafetensorsWriterTest, AResumedFileHasTheSameBytes) {
  const ScratchFolder whole;
  const ScratchFolder resumed;
  {
    auto writer = SafetensorsWriter::Create(whole.path(), TwoTensors(), {});
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Append("planes", AsBytes("abcdef")).ok());
    ASSERT_TRUE((*writer)->Append("norm", AsBytes("wxyz")).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  std::vector<uint32_t> checksums;
  {
    auto writer = SafetensorsWriter::Create(resumed.path(), TwoTensors(), {});
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Append("planes", AsBytes("abcdef")).ok());
    ASSERT_TRUE((*writer)->Append("norm", AsBytes("??")).ok());
    ASSERT_TRUE((*writer)->Sync().ok());
    checksums = (*writer)->Checksums("planes");
  }
  SafetensorsWriter::Options options;
  options.resume = true;
  auto writer =
      SafetensorsWriter::Create(resumed.path(), TwoTensors(), options);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->MarkWritten("planes", checksums).ok());
  EXPECT_TRUE((*writer)->IsComplete("planes"));
  EXPECT_FALSE((*writer)->IsComplete("norm"));
  ASSERT_TRUE((*writer)->Append("norm", AsBytes("wxyz")).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(ReadBytes(whole.File("model.safetensors")),
            ReadBytes(resumed.File("model.safetensors")));
}

TEST(SafetensorsWriterTest, ResumingWithoutTheFilesOrWithOthersIsAnError) {
  const ScratchFolder folder;
  SafetensorsWriter::Options options;
  options.resume = true;
  ExpectError(
      SafetensorsWriter::Create(folder.path(), TwoTensors(), options).status(),
      absl::StatusCode::kNotFound, {"model.safetensors.partial"});
  folder.Write("model.safetensors.partial", "short");
  ExpectError(
      SafetensorsWriter::Create(folder.path(), TwoTensors(), options).status(),
      absl::StatusCode::kDataLoss, {"model.safetensors.partial: 5 bytes"});
}

TEST(SafetensorsWriterTest, DeclarationsThatCannotBeAreRefused) {
  const ScratchFolder folder;
  const auto create = [&folder](std::vector<TensorSpec> specs) {
    return SafetensorsWriter::Create(folder.path(), std::move(specs), {})
        .status();
  };
  ExpectError(
      create({{{"a", DType::kU8, {1}}, 0}, {{"a", DType::kU8, {1}}, 0}}),
      absl::StatusCode::kInvalidArgument, {"tensor \"a\": declared twice"});
  ExpectError(create({{{"a", DType::kU8, {-1}}, 0}}),
              absl::StatusCode::kInvalidArgument, {"tensor \"a\""});
  ExpectError(create({{{"a\xff", DType::kU8, {1}}, 0}}),
              absl::StatusCode::kInvalidArgument, {"a\\xff"});
}

}  // namespace
}  // namespace anyprec
