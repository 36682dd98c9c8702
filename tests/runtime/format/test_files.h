// Files for the tests of file formats: scratch folders, and builders of
// safetensors and GGUF bytes that can be wrong in any way a test wants.
#ifndef ANYPREC_TESTS_RUNTIME_FORMAT_TEST_FILES_H_
#define ANYPREC_TESTS_RUNTIME_FORMAT_TEST_FILES_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"
#include "runtime/model/model_config.h"

namespace anyprec {

// An empty folder of the running test, removed with all it holds.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string File(absl::string_view name) const;
  // Writes a file of this folder; returns its path.
  std::string Write(absl::string_view name, absl::string_view bytes) const;

 private:
  std::string path_;
};

// REQUIRES: the file is there.
std::string ReadBytes(const std::string& path);

// The path of a file in testdata/.
std::string TestData(absl::string_view name);

// Whether `status` is an error whose message holds all of `parts`; where not,
// a test failure that shows it.
void ExpectError(const absl::Status& status, absl::StatusCode code,
                 const std::vector<std::string>& parts);

// The bytes of a number, as files have them.
template <typename T>
std::string Bytes(T number) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &number, sizeof(T));
  return bytes;
}

template <typename T>
std::string BytesOf(const std::vector<T>& numbers) {
  std::string bytes;
  for (const T number : numbers) bytes += Bytes(number);
  return bytes;
}

// A safetensors file: the length of `header`, `header`, `data`.
std::string Safetensors(absl::string_view header, absl::string_view data);

// Builds a GGUF file from raw parts; counts are those of the parts added unless
// set otherwise.
class GgufBuilder {
 public:
  static std::string String(absl::string_view text);

  // `type` and `value` as the file has them.
  GgufBuilder& Pair(absl::string_view key, uint32_t type,
                    absl::string_view value);
  GgufBuilder& Uint32(absl::string_view key, uint32_t value);
  GgufBuilder& Float32(absl::string_view key, float value);
  GgufBuilder& Text(absl::string_view key, absl::string_view value);
  // A tensor at `offset`; `dimensions` fastest first.
  GgufBuilder& Tensor(absl::string_view name,
                      const std::vector<uint64_t>& dimensions, uint32_t type,
                      uint64_t offset);
  // A tensor of fp32 with data of its own, placed behind the others.
  GgufBuilder& Floats(absl::string_view name,
                      const std::vector<uint64_t>& dimensions,
                      const std::vector<float>& values);

  std::string Build() const;

  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t tensors = 0;
  uint64_t pairs = 0;
  std::string data;

 private:
  std::string pairs_bytes_;
  std::string infos_bytes_;
};

// A valid parent-model configuration: one layer, 2..3 bits, tied, int8 lm_head.
ModelConfig TinyParentConfig();
// The same with scales: rows of down_proj have a group of 64 columns and one of
// 32, all others one of 32.
ModelConfig TinyBcqParentConfig();

// Fills `output` with a model of `config` whose contents depend on the names
// only. Stops, as if killed, after `commits` layers, if that many are left.
absl::Status WriteTinyParent(const std::string& output,
                             const ModelConfig& config, int commits = 1 << 20,
                             absl::string_view fingerprint = "",
                             int64_t max_shard_bytes = 5'000'000'000,
                             bool overwrite = false);

// W[row, column] of a layer that offers consecutive precisions, by what
// FORMAT.md says.
float WeightAt(const QuantizedLinear& linear, int precision, int row,
               int column);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_FORMAT_TEST_FILES_H_
