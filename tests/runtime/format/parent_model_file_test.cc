#include "runtime/format/parent_model_file.h"

#include <cstring>
#include <filesystem>
#include <string>

#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "runtime/format/safetensors.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

constexpr char kLayer[] = "model.layers.0.mlp.down_proj";

class ParentModelFileTest : public testing::Test {
 protected:
  explicit ParentModelFileTest(const ModelConfig& config = TinyParentConfig()) {
    const absl::Status written = WriteTinyParent(model_, config);
    EXPECT_TRUE(written.ok()) << written;
  }

  absl::StatusOr<std::unique_ptr<ParentModelFile>> Open(int max_bits = 8) {
    return ParentModelFile::Open(model_, {.max_bits = max_bits});
  }

  std::string tensors() const { return model_ + "/model.safetensors"; }

  // Where byte `at` of a tensor is in the file.
  size_t OffsetOf(const std::string& name, size_t at) {
    const auto file = SafetensorsFile::Open(tensors());
    EXPECT_TRUE(file.ok()) << file.status();
    return static_cast<size_t>((*file)->Find(name)->data.data() -
                               (*file)->mapping().bytes().data()) +
           at;
  }

  // Changes bytes of a tensor, leaving its checksum.
  void Damage(const std::string& name, size_t at, absl::string_view bytes) {
    const size_t offset = OffsetOf(name, at);
    std::string file = ReadBytes(tensors());
    file.replace(offset, bytes.size(), bytes.data(), bytes.size());
    folder_.Write("pm/model.safetensors", file);
  }

  // Replaces a text of the header or of config.json by one of the same length.
  void ReplaceIn(const std::string& file_name, const std::string& from,
                 const std::string& to) {
    std::string file = ReadBytes(model_ + "/" + file_name);
    const size_t at = file.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    file.replace(at, from.size(), to);
    folder_.Write("pm/" + file_name, file);
  }

  ScratchFolder folder_;
  const std::string model_ = folder_.File("pm");
};

class BcqParentModelFileTest : public ParentModelFileTest {
 protected:
  BcqParentModelFileTest() : ParentModelFileTest(TinyBcqParentConfig()) {}
};

TEST_F(ParentModelFileTest, LoadsPlanesAndCodebooksOfALayer) {
  const auto file = Open();
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->seed_bits(), 2);
  EXPECT_EQ((*file)->parent_bits(), 3);
  EXPECT_EQ((*file)->max_bits(), 3);
  const auto layer = (*file)->LoadLinear(kLayer);
  ASSERT_TRUE(layer.ok()) << layer.status();
  const QuantizedLinear view = layer->View();
  EXPECT_EQ(view.matrix.n, 32);
  EXPECT_EQ(view.matrix.k, 32);
  ASSERT_EQ(view.matrix.planes.size(), 3u);
  ASSERT_EQ(view.codebooks.size(), 2u);
  EXPECT_EQ(view.codebooks[1].precision, 3);
  EXPECT_EQ(view.codebooks[1].data.size(), 32u * 8);
  for (const uint32_t* plane : view.matrix.planes) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(plane) % 64, 0u);
  }
  // Straight from the file: nothing was copied.
  EXPECT_TRUE(layer->storage.span().empty());
  (*file)->Release(kLayer);
  const auto again = (*file)->LoadLinear(kLayer);
  ASSERT_TRUE(again.ok()) << again.status();
}

TEST_F(BcqParentModelFileTest, LoadsPlanesAndScalesOfALayer) {
  const auto file = Open();
  ASSERT_TRUE(file.ok()) << file.status();
  const auto layer = (*file)->LoadLinear(kLayer);
  ASSERT_TRUE(layer.ok()) << layer.status();
  const QuantizedLinear view = layer->View();
  EXPECT_EQ(view.matrix.n, 32);
  EXPECT_EQ(view.matrix.k, 96);
  ASSERT_EQ(view.matrix.planes.size(), 3u);
  EXPECT_TRUE(view.codebooks.empty());
  ASSERT_EQ(view.scales.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const GroupScales& scales = view.scales[i];
    EXPECT_EQ(scales.precision, static_cast<int>(2 + i));
    EXPECT_EQ(scales.group_size, 64);
    EXPECT_EQ(scales.alpha.size(), 32 * 2 * (2 + i));
    EXPECT_EQ(scales.beta.size(), 32u * 2);
  }
  EXPECT_EQ(view.max_precision(), 3);
  (*file)->Release(kLayer);
  const auto again = (*file)->LoadLinear(kLayer);
  ASSERT_TRUE(again.ok()) << again.status();
}

TEST_F(ParentModelFileTest, LoadsDenseTensorsInTheirTypes) {
  const auto file = Open();
  ASSERT_TRUE(file.ok()) << file.status();
  const auto embedding = (*file)->LoadDense("model.embed_tokens.weight");
  ASSERT_TRUE(embedding.ok()) << embedding.status();
  EXPECT_EQ(embedding->dtype, DType::kF16);
  EXPECT_EQ(embedding->shape, (std::vector<int64_t>{4, 32}));
  const auto head = (*file)->LoadDense("lm_head.weight");
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_EQ(head->dtype, DType::kI8);
  const auto scale = (*file)->LoadDense("lm_head.scale");
  ASSERT_TRUE(scale.ok()) << scale.status();
  EXPECT_EQ(scale->As<float>().size(), 4u);
  ExpectError((*file)->LoadDense("none").status(), absl::StatusCode::kNotFound,
              {model_, "\"none\""});
  ExpectError((*file)->LoadLinear("model.norm").status(),
              absl::StatusCode::kNotFound, {"\"model.norm\""});
}

TEST_F(ParentModelFileTest, TiedLmHeadInFp16IsTheEmbedding) {
  ModelConfig config = TinyParentConfig();
  config.quantization->lm_head = "fp16";
  ASSERT_TRUE(WriteTinyParent(folder_.File("tied"), config).ok());
  const auto file = ParentModelFile::Open(folder_.File("tied"), {});
  ASSERT_TRUE(file.ok()) << file.status();
  const auto head = (*file)->LoadDense("lm_head.weight");
  const auto embedding = (*file)->LoadDense("model.embed_tokens.weight");
  ASSERT_TRUE(head.ok() && embedding.ok());
  EXPECT_EQ(head->data.data(), embedding->data.data());
}

TEST_F(ParentModelFileTest, PlanesAndCodebooksAboveMaxBitsAreNotTouched) {
  // Damage that a read would report: in plane 2 and in the 3-bit codebook.
  Damage("model.layers.0.mlp.down_proj.qweight", 2 * 128, "damage");
  Damage("model.layers.0.mlp.down_proj.lut3", 0, Bytes<uint16_t>(0x7e00));
  const auto low = Open(2);
  ASSERT_TRUE(low.ok()) << low.status();
  const auto layer = (*low)->LoadLinear(kLayer);
  ASSERT_TRUE(layer.ok()) << layer.status();
  EXPECT_EQ(layer->planes.size(), 2u);
  EXPECT_EQ(layer->codebooks.size(), 1u);
  const auto all = Open(3);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_FALSE((*all)->LoadLinear(kLayer).ok());
}

TEST_F(BcqParentModelFileTest, ScalesAboveMaxBitsAreNotTouched) {
  Damage("model.layers.0.mlp.down_proj.alpha3", 0, Bytes<uint16_t>(0x7e00));
  Damage("model.layers.0.mlp.down_proj.beta3", 0, Bytes<uint16_t>(0x7e00));
  const auto low = Open(2);
  ASSERT_TRUE(low.ok()) << low.status();
  const auto layer = (*low)->LoadLinear(kLayer);
  ASSERT_TRUE(layer.ok()) << layer.status();
  EXPECT_EQ(layer->planes.size(), 2u);
  EXPECT_EQ(layer->scales.size(), 1u);
  const auto all = Open(3);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_FALSE((*all)->LoadLinear(kLayer).ok());
}

TEST_F(BcqParentModelFileTest, DamageAndValuesThatAreNotFiniteAreNamed) {
  const std::string whole = ReadBytes(tensors());
  for (const std::string tensor :
       {"mlp.down_proj.alpha2", "mlp.down_proj.beta3"}) {
    folder_.Write("pm/model.safetensors", whole);
    Damage("model.layers.0." + tensor, 6, Bytes<uint16_t>(0x7e00));
    const auto checked = Open();
    ASSERT_TRUE(checked.ok()) << checked.status();
    ExpectError((*checked)->LoadLinear(kLayer).status(),
                absl::StatusCode::kDataLoss, {tensor + "\": CRC-32C"});
    const auto unchecked = ParentModelFile::Open(
        model_, {.max_bits = 8, .verify_checksums = false});
    ASSERT_TRUE(unchecked.ok()) << unchecked.status();
    ExpectError((*unchecked)->LoadLinear(kLayer).status(),
                absl::StatusCode::kDataLoss, {tensor + "\": element 3 is NaN"});
  }
}

TEST_F(BcqParentModelFileTest, ScalesThatAddUpBeyondFp16AreNamed) {
  // Of row 1, group 1, which has its alphas at 2 * 3: 65504 beside the others.
  Damage("model.layers.0.mlp.down_proj.alpha2", 2 * 2 * 3,
         Bytes<uint16_t>(0xfbff));
  const auto file =
      ParentModelFile::Open(model_, {.max_bits = 8, .verify_checksums = false});
  ASSERT_TRUE(file.ok()) << file.status();
  ExpectError((*file)->LoadLinear(kLayer).status(), absl::StatusCode::kDataLoss,
              {"mlp.down_proj.alpha2\": row 1, group 1 adds up to 655",
               "with its beta, needed is at most 65504"});
}

TEST_F(BcqParentModelFileTest, WrongShapesAndMissingScalesAreNamed) {
  const std::string whole = ReadBytes(tensors());
  const struct {
    std::string from, to, part;
  } cases[] = {
      {"\"shape\":[32,2,3]", "\"shape\":[32,3,2]",
       "mlp.down_proj.alpha3\" is F16 [32, 3, 2], needed is F16 [32, 2, 3]"},
      {"\"shape\":[32,2]", "\"shape\":[2,32]",
       "beta2\" is F16 [2, 32], needed is F16 [32, 2]"},
      {"\"model.layers.0.mlp.down_proj.beta3\":{",
       "\"model.layers.0.mlp.down_proj.betaX\":{",
       "tensor \"model.layers.0.mlp.down_proj.beta3\" is missing, needed is "
       "F16 [32, 2]"},
  };
  for (const auto& test : cases) {
    folder_.Write("pm/model.safetensors", whole);
    ReplaceIn("model.safetensors", test.from, test.to);
    ExpectError(Open().status(), absl::StatusCode::kDataLoss, {test.part});
  }
  // Tensors that belong to another group size than config.json's.
  folder_.Write("pm/model.safetensors", whole);
  ReplaceIn("config.json", "\"group_size\": 64", "\"group_size\": 32");
  ExpectError(Open().status(), absl::StatusCode::kDataLoss,
              {"is F16 [32, 2, 2], needed is F16 [32, 3, 2]"});
}

TEST_F(ParentModelFileTest, DamageIsReportedWithPlaneAndChecksums) {
  Damage("model.layers.0.mlp.down_proj.qweight", 128 + 5, "!");
  const auto file = Open();
  ASSERT_TRUE(file.ok()) << file.status();
  ExpectError((*file)->LoadLinear(kLayer).status(), absl::StatusCode::kDataLoss,
              {tensors(), "mlp.down_proj.qweight\", plane 1: CRC-32C"});
  Damage("lm_head.weight", 0, "!!");
  const auto again = Open();
  ASSERT_TRUE(again.ok()) << again.status();
  ExpectError((*again)->LoadDense("lm_head.weight").status(),
              absl::StatusCode::kDataLoss, {"\"lm_head.weight\": CRC-32C"});
}

TEST_F(ParentModelFileTest, CodebooksThatAreNotFiniteAreNamed) {
  for (const uint16_t bits : {uint16_t{0x7e00}, uint16_t{0xfc00}}) {
    Damage("model.layers.0.mlp.down_proj.lut2", 6, Bytes(bits));
    const auto file = ParentModelFile::Open(
        model_, {.max_bits = 8, .verify_checksums = false});
    ASSERT_TRUE(file.ok()) << file.status();
    ExpectError((*file)->LoadLinear(kLayer).status(),
                absl::StatusCode::kDataLoss,
                {"mlp.down_proj.lut2\": element 3 is"});
  }
}

TEST_F(ParentModelFileTest, WrongTypesShapesAndMissingTensorsAreNamed) {
  const std::string whole = ReadBytes(tensors());
  const struct {
    std::string from, to;
    std::vector<std::string> parts;
  } cases[] = {
      // "lut2":{"data_offsets":[...],"dtype":"F16","shape":[32,4]}
      {"\"shape\":[32,4]",
       "\"shape\":[4,32]",
       {"lut2\" is F16 [4, 32], needed is F16 [32, 4]"}},
      {"\"dtype\":\"I32\"",
       "\"dtype\":\"F32\"",
       {"qweight\" is F32", "needed is I32"}},
      {"\"model.norm.weight\":{",
       "\"model.norm.weighT\":{",
       {"tensor \"model.norm.weight\" is missing"}},
      {"\"crc32c:model.norm.weight\":",
       "\"crc32c:model.norm.weighT\":",
       {"\"crc32c:model.norm.weight\" in __metadata__ is missing"}},
  };
  for (const auto& test : cases) {
    folder_.Write("pm/model.safetensors", whole);
    ReplaceIn("model.safetensors", test.from, test.to);
    ExpectError(Open().status(), absl::StatusCode::kDataLoss, test.parts);
  }
}

TEST_F(ParentModelFileTest, ChecksumsMustBeHexDigits) {
  const std::string whole = ReadBytes(tensors());
  const std::string key = "\"crc32c:model.norm.weight\":\"";
  const size_t at = whole.find(key) + key.size();
  std::string damaged = whole;
  damaged.replace(at, 8, "zzzzzzzz");
  folder_.Write("pm/model.safetensors", damaged);
  const auto file = Open();
  ASSERT_TRUE(file.ok()) << file.status();
  ExpectError((*file)->LoadDense("model.norm.weight").status(),
              absl::StatusCode::kDataLoss,
              {"\"model.norm.weight\": CRC-32C", "needed is zzzzzzzz"});
}

TEST_F(ParentModelFileTest, OpeningWhatIsNoParentModelSaysWhy) {
  ExpectError(Open(1).status(), absl::StatusCode::kInvalidArgument,
              {"max_bits is 1", "2"});
  ReplaceIn("config.json", "\"quant_method\": \"anyprec\"",
            "\"quant_method\": \"gptqxyz\"");
  ExpectError(Open().status(), absl::StatusCode::kUnimplemented,
              {"config.json: quantization_config.quant_method is \"gptqxyz\""});
  ReplaceIn("config.json", "quantization_config", "quantization_xxxxxx");
  ExpectError(Open().status(), absl::StatusCode::kInvalidArgument,
              {"quantization_config is missing"});
  std::filesystem::remove(tensors());
  ExpectError(ParentModelFile::Open(folder_.File("none"), {}).status(),
              absl::StatusCode::kNotFound, {"none/config.json"});
}

TEST_F(ParentModelFileTest, OtherVersionsOfTheFormatAreRefused) {
  ReplaceIn("model.safetensors", "\"format_version\":\"1\"",
            "\"format_version\":\"2\"");
  ExpectError(Open().status(), absl::StatusCode::kUnimplemented,
              {tensors(), "format_version in __metadata__ is \"2\""});
}

TEST_F(ParentModelFileTest, PlanesThatAreNotAlignedAreCopied) {
  // One space more in the header shifts all data by a byte.
  std::string file = ReadBytes(tensors());
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  file.insert(sizeof(length) + length, " ");
  file.replace(0, sizeof(length), Bytes(length + 1));
  folder_.Write("shifted/model.safetensors", file);
  folder_.Write("shifted/config.json", ReadBytes(model_ + "/config.json"));
  const auto shifted = ParentModelFile::Open(folder_.File("shifted"), {});
  ASSERT_TRUE(shifted.ok()) << shifted.status();
  const auto original = Open();
  ASSERT_TRUE(original.ok()) << original.status();
  const auto a = (*shifted)->LoadLinear(kLayer);
  const auto b = (*original)->LoadLinear(kLayer);
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_FALSE(a->storage.span().empty());
  for (size_t plane = 0; plane < 3; ++plane) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a->planes[plane]) % 64, 0u);
    EXPECT_EQ(std::memcmp(a->planes[plane], b->planes[plane], 128), 0);
  }
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(
        std::memcmp(a->codebooks[i].data.data(), b->codebooks[i].data.data(),
                    b->codebooks[i].data.size_bytes()),
        0);
  }
  EXPECT_TRUE((*shifted)->LoadDense("model.norm.weight").ok());
}

// FORMAT.md's worked example. A change of these bytes is a change of format:
// raise its version and keep reading this one.
TEST_F(ParentModelFileTest, TheGoldenFolderReadsAndIsWrittenByteForByte) {
  EXPECT_EQ(ReadBytes(tensors()),
            ReadBytes(TestData("parent-model/model.safetensors")));
  EXPECT_EQ(ReadBytes(model_ + "/config.json"),
            ReadBytes(TestData("parent-model/config.json")));
  const auto golden = ParentModelFile::Open(TestData("parent-model"), {});
  ASSERT_TRUE(golden.ok()) << golden.status();
  const auto layer = (*golden)->LoadLinear(kLayer);
  ASSERT_TRUE(layer.ok()) << layer.status();
  const QuantizedLinear view = layer->View();
  // Row 0, column 5, as FORMAT.md works it out.
  EXPECT_EQ(CodeAt(view.matrix, 3, 0, 5), 6);
  EXPECT_EQ(CodeAt(view.matrix, 2, 0, 5), 3);
  EXPECT_EQ(ToFloat(view.codebooks[1].data[6]), 1.359375f);
  EXPECT_EQ(ToFloat(view.codebooks[0].data[3]), 1.734375f);
}

TEST_F(BcqParentModelFileTest, TheGoldenFolderReadsAndIsWrittenByteForByte) {
  EXPECT_EQ(ReadBytes(tensors()),
            ReadBytes(TestData("parent-model-bcq/model.safetensors")));
  EXPECT_EQ(ReadBytes(model_ + "/config.json"),
            ReadBytes(TestData("parent-model-bcq/config.json")));
  const auto golden = ParentModelFile::Open(TestData("parent-model-bcq"), {});
  ASSERT_TRUE(golden.ok()) << golden.status();
  const auto layer = (*golden)->LoadLinear(kLayer);
  ASSERT_TRUE(layer.ok()) << layer.status();
  const QuantizedLinear view = layer->View();
  // Row 0, column 70, as FORMAT.md works it out: group 1, of two.
  EXPECT_EQ(CodeAt(view.matrix, 3, 0, 70), 3);
  EXPECT_EQ(CodeAt(view.matrix, 2, 0, 70), 1);
  const GroupScales& two = view.scales[0];
  const GroupScales& three = view.scales[1];
  EXPECT_EQ(BinaryCodedWeight(3, three.alpha.subspan(3, 3), three.beta[1]),
            6.1875f);
  EXPECT_EQ(BinaryCodedWeight(1, two.alpha.subspan(2, 2), two.beta[1]),
            7.03125f);
}

}  // namespace
}  // namespace anyprec
