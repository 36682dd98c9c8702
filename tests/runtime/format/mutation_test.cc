// Damaged files of every format: whatever the damage, opening and reading end
// with a value or with an error that has a message, never with a crash. Run
// under --config=asan and --config=ubsan this finds reads out of bounds.
#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/format/checkpoint.h"
#include "runtime/format/gguf.h"
#include "runtime/format/parent_model_file.h"
#include "runtime/format/safetensors.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

// Enough to hit every kind of field of these small headers, and done in a
// second or two a format.
constexpr int kMutations = 300;

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  // One to four changes: to a bit, a byte, a digit, or a whole word; a cut, a
  // repetition, or a removal. `header` bytes at the begin take most of them.
  std::string Mutate(std::string bytes, size_t header) {
    for (size_t i = 1 + Below(4); i > 0 && !bytes.empty(); --i) {
      const size_t range =
          Below(4) > 0 ? std::min(header, bytes.size()) : bytes.size();
      Change(Below(range), &bytes);
    }
    return bytes;
  }

 private:
  size_t Below(size_t limit) { return limit == 0 ? 0 : random_() % limit; }

  void Change(size_t at, std::string* bytes) {
    switch (Below(7)) {
      case 0:
        (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << Below(8)));
        break;
      case 1:
        (*bytes)[at] = static_cast<char>(Below(256));
        break;
      case 2:
        (*bytes)[at] = "0123456789-,:[]{}\"\\e."[Below(21)];
        break;
      case 3: {
        constexpr uint64_t kWords[] = {
            0, 1, 0x7fffffff, 0xffffffff, uint64_t{1} << 62, ~uint64_t{0}};
        const std::string word = Bytes(kWords[Below(6)]);
        bytes->replace(at, std::min<size_t>(8, bytes->size() - at), word);
        break;
      }
      case 4:
        bytes->resize(at);
        break;
      case 5:
        bytes->insert(at, bytes->substr(at, Below(64)));
        break;
      default:
        bytes->erase(at, 1 + Below(16));
        break;
    }
  }

  std::mt19937 random_;
};

void ExpectMessage(const absl::Status& status) {
  if (!status.ok()) {
    EXPECT_GT(status.message().size(), 10u) << status;
  }
}

size_t HeaderBytes(const std::string& safetensors) {
  uint64_t length = 0;
  std::memcpy(&length, safetensors.data(), sizeof(length));
  return sizeof(length) + length;
}

// Sums all bytes, so that a span out of bounds is touched.
uint64_t Touch(std::span<const std::byte> data) {
  uint64_t sum = 0;
  for (const std::byte byte : data) sum += static_cast<uint64_t>(byte);
  return sum;
}

TEST(MutationTest, SafetensorsFiles) {
  const ScratchFolder folder;
  const std::string whole = ReadBytes(TestData("llama.safetensors"));
  Mutator mutator(1);
  int opened = 0;
  uint64_t sum = 0;
  for (int i = 0; i < kMutations; ++i) {
    const std::string path =
        folder.Write("t", mutator.Mutate(whole, HeaderBytes(whole)));
    const auto file = SafetensorsFile::Open(path);
    ExpectMessage(file.status());
    if (!file.ok()) continue;
    ++opened;
    for (const auto& tensor : (*file)->tensors()) sum += Touch(tensor.data);
  }
  EXPECT_GT(opened, 0);
  EXPECT_GT(sum, 0u);
}

TEST(MutationTest, GgufCheckpoints) {
  const ScratchFolder folder;
  const std::string whole = ReadBytes(TestData("llama.gguf"));
  Mutator mutator(2);
  int opened = 0;
  for (int i = 0; i < kMutations; ++i) {
    const std::string path = folder.Write("t", mutator.Mutate(whole, 2000));
    const auto checkpoint = Checkpoint::Open(path);
    ExpectMessage(checkpoint.status());
    if (!checkpoint.ok()) continue;
    ++opened;
    for (const std::string& key : (*checkpoint)->gguf()->keys()) {
      ExpectMessage((*checkpoint)->gguf()->GetString(key).status());
      ExpectMessage((*checkpoint)->gguf()->GetStringArray(key).status());
      ExpectMessage((*checkpoint)->gguf()->GetFloatArray(key).status());
    }
    for (const char* name :
         {"model.layers.0.self_attn.q_proj.weight", "lm_head.weight",
          "model.layers.0.self_attn.k_proj.weight",
          "model.layers.0.mlp.down_proj.weight", "model.norm.weight"}) {
      const TensorInfo* info = (*checkpoint)->Find(name);
      if (info == nullptr) continue;
      ExpectMessage((*checkpoint)->ReadFloat(name, info->shape).status());
      ExpectMessage((*checkpoint)->ReadDense(name, info->shape).status());
    }
  }
  EXPECT_GT(opened, 0);
}

// Loads all that a configuration promises.
void LoadAll(const ParentModelFile& file) {
  for (int layer = 0; layer <= file.config().num_layers; ++layer) {
    for (const TensorInfo& info : DenseTensorSpecs(file.config(), layer)) {
      ExpectMessage(file.LoadDense(info.name).status());
    }
    if (layer == file.config().num_layers) break;
    for (const LinearSpec& linear : LinearSpecs(file.config(), layer)) {
      ExpectMessage(file.LoadLinear(linear.name).status());
    }
  }
}

// The golden folders of both schemes.
class ParentMutationTest : public testing::TestWithParam<const char*> {
 protected:
  std::string Golden(absl::string_view file) {
    return ReadBytes(TestData(absl::StrCat(GetParam(), "/", file)));
  }
};

INSTANTIATE_TEST_SUITE_P(BothSchemes, ParentMutationTest,
                         testing::Values("parent-model", "parent-model-bcq"));

TEST_P(ParentMutationTest, Tensors) {
  const ScratchFolder folder;
  const std::string whole = Golden("model.safetensors");
  folder.Write("config.json", Golden("config.json"));
  Mutator mutator(3);
  int opened = 0;
  for (int i = 0; i < kMutations; ++i) {
    folder.Write("model.safetensors",
                 mutator.Mutate(whole, HeaderBytes(whole)));
    const auto file = ParentModelFile::Open(
        folder.path(), {.max_bits = 8, .verify_checksums = i % 2 == 0});
    ExpectMessage(file.status());
    if (!file.ok()) continue;
    ++opened;
    LoadAll(**file);
  }
  EXPECT_GT(opened, 0);
}

TEST_P(ParentMutationTest, Configurations) {
  const ScratchFolder folder;
  const std::string whole = Golden("config.json");
  folder.Write("model.safetensors", Golden("model.safetensors"));
  Mutator mutator(4);
  int opened = 0;
  for (int i = 0; i < kMutations; ++i) {
    folder.Write("config.json", mutator.Mutate(whole, whole.size()));
    const auto file = ParentModelFile::Open(folder.path(), {});
    ExpectMessage(file.status());
    if (!file.ok()) continue;
    ++opened;
    LoadAll(**file);
  }
  EXPECT_GT(opened, 0);
}

}  // namespace
}  // namespace anyprec
