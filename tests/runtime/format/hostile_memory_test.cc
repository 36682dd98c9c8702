// Files made to cost memory: reading them must stay below the file's size plus
// 64 MB, whatever they declare.
#include <sys/resource.h>

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/format/checkpoint.h"
#include "runtime/format/gguf.h"
#include "runtime/format/safetensors.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

// AddressSanitizer keeps freed memory.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr int64_t kAllowance = 64 << 20;

// Resets the high-water mark of resident memory to what is resident now.
void ResetPeak() { std::ofstream("/proc/self/clear_refs") << "5"; }

int64_t StatusBytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    int64_t kilobytes = 0;
    if (word == field && status >> kilobytes) return kilobytes << 10;
  }
  return 0;
}

template <typename Open>
void ExpectBounded(const std::string& path, int64_t file_bytes, Open open) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer keeps memory of its own";
  ResetPeak();
  const int64_t before = StatusBytes("VmRSS:");
  open(path);
  const int64_t used = StatusBytes("VmHWM:") - before;
  EXPECT_LT(used, file_bytes + kAllowance) << path;
}

// `header` begins it, and copies of `unit` fill it up to just below the limit.
std::string FilledHeader(const std::string& header, const std::string& unit) {
  std::string text = header;
  text.reserve(SafetensorsFile::kMaxHeaderBytes);
  while (text.size() + unit.size() < SafetensorsFile::kMaxHeaderBytes) {
    text += unit;
  }
  return text;
}

TEST(HostileMemoryTest, SafetensorsHeaders) {
  const ScratchFolder folder;
  const std::string headers[] = {
      // A document parser would take 30 bytes for every 2 of these.
      FilledHeader(R"({"a":{"dtype":"F32","shape":[)", "0,"),
      FilledHeader(R"({"a":)", "["),
      FilledHeader(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,0]}})",
                   " "),
      FilledHeader(R"({"__metadata__":{"k":")", "x"),
  };
  for (const std::string& header : headers) {
    const std::string path = folder.Write("t", Safetensors(header, ""));
    ExpectBounded(
        path, static_cast<int64_t>(header.size()),
        [](const std::string& file) { (void)SafetensorsFile::Open(file); });
  }
}

TEST(HostileMemoryTest, SafetensorsWithAsManyTensorsAsFit) {
  const ScratchFolder folder;
  std::string header = "{";
  for (int i = 0; header.size() < SafetensorsFile::kMaxHeaderBytes - 100; ++i) {
    absl::StrAppend(&header, i > 0 ? "," : "", "\"", absl::Hex(i),
                    R"(":{"dtype":"U8","shape":[],"data_offsets":[)", i, ",",
                    i + 1, "]}");
  }
  header += "}";
  const std::string path =
      folder.Write("t", Safetensors(header, std::string(200'000, 'x')));
  ExpectBounded(
      path, static_cast<int64_t>(header.size()),
      [](const std::string& file) { (void)SafetensorsFile::Open(file); });
}

TEST(HostileMemoryTest, GgufCountsAndNames) {
  const ScratchFolder folder;
  GgufBuilder counts;
  counts.tensors = 1 << 17;
  counts.pairs = 1 << 14;
  counts.data.assign(8 << 20, '\0');
  GgufBuilder tensors;
  for (uint64_t i = 0; i < 100'000; ++i) {
    tensors.Tensor(absl::StrCat(std::string(200, 'n'), i), {1}, 24, 0);
  }
  for (const GgufBuilder* builder : {&counts, &tensors}) {
    const std::string bytes = builder->Build();
    const std::string path = folder.Write("t", bytes);
    ExpectBounded(path, static_cast<int64_t>(bytes.size()),
                  [](const std::string& file) { (void)GgufFile::Open(file); });
  }
}

TEST(HostileMemoryTest, ConfigurationsAboveTheirLimitAreNotRead) {
  const ScratchFolder folder;
  std::string text = R"({"a":[)";
  while (text.size() < (1 << 20) - 10) text += "0,";
  text += "0]}";
  folder.Write("config.json", text);
  ExpectBounded(folder.path(), static_cast<int64_t>(text.size()),
                [](const std::string& path) { (void)Checkpoint::Open(path); });
  folder.Write("config.json", std::string(32 << 20, '['));
  ExpectError(Checkpoint::Open(folder.path()).status(),
              absl::StatusCode::kResourceExhausted,
              {"config.json: 33554432 bytes, at most 1048576"});
}

}  // namespace
}  // namespace anyprec
