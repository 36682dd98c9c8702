#include "tests/runtime/format/test_files.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/status_macros.h"
#include "runtime/format/crc32c.h"
#include "runtime/format/parent_model_writer.h"

namespace anyprec {

ScratchFolder::ScratchFolder() {
  std::string name = absl::StrCat(testing::TempDir(), "/anyprec-XXXXXX");
  const char* made = mkdtemp(name.data());
  EXPECT_NE(made, nullptr) << name;
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string ScratchFolder::File(absl::string_view name) const {
  return absl::StrCat(path_, "/", name);
}

std::string ScratchFolder::Write(absl::string_view name,
                                 absl::string_view bytes) const {
  std::string path = File(name);
  std::filesystem::create_directories(
      std::filesystem::path(path).parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(file.good()) << path;
  return path;
}

std::string ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string TestData(absl::string_view name) {
  return absl::StrCat("tests/runtime/format/testdata/", name);
}

void ExpectError(const absl::Status& status, absl::StatusCode code,
                 const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status;
  for (const std::string& part : parts) {
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part));
  }
}

std::string Safetensors(absl::string_view header, absl::string_view data) {
  return absl::StrCat(Bytes(uint64_t{header.size()}), header, data);
}

std::string GgufBuilder::String(absl::string_view text) {
  return absl::StrCat(Bytes(uint64_t{text.size()}), text);
}

GgufBuilder& GgufBuilder::Pair(absl::string_view key, uint32_t type,
                               absl::string_view value) {
  absl::StrAppend(&pairs_bytes_, String(key), Bytes(type), value);
  ++pairs;
  return *this;
}

GgufBuilder& GgufBuilder::Uint32(absl::string_view key, uint32_t value) {
  return Pair(key, 4, Bytes(value));
}

GgufBuilder& GgufBuilder::Float32(absl::string_view key, float value) {
  return Pair(key, 6, Bytes(value));
}

GgufBuilder& GgufBuilder::Text(absl::string_view key, absl::string_view value) {
  return Pair(key, 8, String(value));
}

GgufBuilder& GgufBuilder::Tensor(absl::string_view name,
                                 const std::vector<uint64_t>& dimensions,
                                 uint32_t type, uint64_t offset) {
  absl::StrAppend(&infos_bytes_, String(name),
                  Bytes(static_cast<uint32_t>(dimensions.size())),
                  BytesOf(dimensions), Bytes(type), Bytes(offset));
  ++tensors;
  return *this;
}

GgufBuilder& GgufBuilder::Floats(absl::string_view name,
                                 const std::vector<uint64_t>& dimensions,
                                 const std::vector<float>& values) {
  data.resize((data.size() + 31) / 32 * 32);
  Tensor(name, dimensions, 0, data.size());
  data += BytesOf(values);
  return *this;
}

std::string GgufBuilder::Build() const {
  std::string bytes = absl::StrCat(magic, Bytes(version), Bytes(tensors),
                                   Bytes(pairs), pairs_bytes_, infos_bytes_);
  bytes.resize((bytes.size() + 31) / 32 * 32);
  return bytes + data;
}

ModelConfig TinyParentConfig() {
  ModelConfig config;
  config.vocab_size = 4;
  config.hidden_size = 32;
  config.intermediate_size = 32;
  config.num_layers = 1;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 16;
  config.max_position_embeddings = 64;
  config.tie_word_embeddings = true;
  config.bos_token_id = 1;
  config.eos_token_ids = {2};
  config.quantization = QuantizationConfig{
      .scheme = "iu",
      .seed_bits = 2,
      .parent_bits = 3,
      .sensitivity = "uniform",
      .lm_head = "int8",
      .tool_version = "golden",
  };
  return config;
}

ModelConfig TinyBcqParentConfig() {
  ModelConfig config = TinyParentConfig();
  config.intermediate_size = 96;
  config.quantization->scheme = "bcq";
  config.quantization->group_size = 64;
  return config;
}

namespace {

// A stream of numbers that a tensor's name determines.
class NameStream {
 public:
  explicit NameStream(absl::string_view name)
      : state_(Crc32c(std::as_bytes(std::span(name.data(), name.size())))) {}

  uint32_t Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 32);
  }

  // k / 64 with |k| < 256: exact in fp16.
  float NextFloat() {
    return static_cast<float>(static_cast<int>(Next() >> 23) - 256) / 64.0f;
  }

 private:
  uint64_t state_;
};

absl::Status WriteLinear(const LinearSpec& spec,
                         const QuantizationConfig& quantization,
                         ParentModelWriter& writer) {
  NameStream stream(spec.name);
  const size_t words = static_cast<size_t>(spec.n) * spec.k / 32;
  std::vector<std::vector<uint32_t>> planes;
  std::vector<const uint32_t*> pointers;
  for (int plane = 0; plane < quantization.parent_bits; ++plane) {
    std::vector<uint32_t>& words_of_plane = planes.emplace_back();
    for (size_t i = 0; i < words; ++i) words_of_plane.push_back(stream.Next());
  }
  for (const auto& plane : planes) pointers.push_back(plane.data());
  std::vector<std::vector<Float16>> values;
  values.reserve(2 * kMaxBits);  // the views below stay
  const auto next = [&](int64_t count) -> std::span<const Float16> {
    std::vector<Float16>& halves = values.emplace_back();
    for (int64_t i = 0; i < count; ++i) {
      halves.push_back(ToFloat16(stream.NextFloat()));
    }
    return halves;
  };
  std::vector<Codebook> codebooks;
  std::vector<GroupScales> scales;
  for (int p = quantization.seed_bits; p <= quantization.parent_bits; ++p) {
    if (!quantization.has_scales()) {
      codebooks.push_back({p, next(int64_t{spec.n} << p)});
      continue;
    }
    const int64_t groups =
        int64_t{spec.n} * GroupCount(spec.k, quantization.group_size);
    const std::span<const Float16> alpha = next(groups * p);
    scales.push_back({p, quantization.group_size, alpha, next(groups)});
  }
  return writer.WriteLinear(spec.name,
                            {{pointers, spec.n, spec.k}, codebooks, scales});
}

absl::Status WriteDense(const TensorInfo& spec, ParentModelWriter& writer) {
  NameStream stream(spec.name);
  const auto count = static_cast<size_t>(*NumElements(spec.shape));
  if (spec.dtype == DType::kI8) {
    std::vector<int8_t> values;
    for (size_t i = 0; i < count; ++i) {
      values.push_back(static_cast<int8_t>(stream.Next() >> 24));
    }
    return writer.WriteInt8(spec.name, values);
  }
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) values.push_back(stream.NextFloat());
  // In two pieces, as large tensors come.
  const std::span<const float> all = values;
  RETURN_IF_ERROR(writer.WriteDense(spec.name, all.first(count / 3)));
  return writer.WriteDense(spec.name, all.subspan(count / 3));
}

}  // namespace

absl::Status WriteTinyParent(const std::string& output,
                             const ModelConfig& config, int commits,
                             absl::string_view fingerprint,
                             int64_t max_shard_bytes, bool overwrite) {
  ParentModelWriter::Options options;
  options.overwrite = overwrite;
  options.fingerprint = std::string(fingerprint);
  options.max_shard_bytes = max_shard_bytes;
  ASSIGN_OR_RETURN(const auto writer,
                   ParentModelWriter::Open(output, config, options));
  for (int layer = 0; layer <= config.num_layers; ++layer) {
    if (writer->IsCommitted(layer)) continue;
    if (commits == 0) return absl::OkStatus();
    --commits;
    for (const TensorInfo& spec : DenseTensorSpecs(config, layer)) {
      RETURN_IF_ERROR(WriteDense(spec, *writer));
    }
    if (layer < config.num_layers) {
      for (const LinearSpec& spec : LinearSpecs(config, layer)) {
        RETURN_IF_ERROR(WriteLinear(spec, *config.quantization, *writer));
      }
    }
    RETURN_IF_ERROR(
        writer->CommitLayer(layer, absl::StrCat("note ", layer, "\n%")));
  }
  return commits == 0 ? absl::OkStatus() : writer->Finish();
}

float WeightAt(const QuantizedLinear& linear, int precision, int row,
               int column) {
  const int code = CodeAt(linear.matrix, precision, row, column);
  if (linear.scales.empty()) {
    const Codebook& codebook =
        linear.codebooks[precision - linear.codebooks[0].precision];
    return ToFloat(
        codebook.data[(static_cast<size_t>(row) << precision) + code]);
  }
  const GroupScales& scales =
      linear.scales[precision - linear.scales[0].precision];
  const int groups = GroupCount(linear.matrix.k, scales.group_size);
  const size_t group =
      static_cast<size_t>(row) * groups + column / scales.group_size;
  return BinaryCodedWeight(code,
                           scales.alpha.subspan(group * precision, precision),
                           scales.beta[group]);
}

}  // namespace anyprec
