#include "runtime/format/checkpoint.h"

#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/types.h"
#include "runtime/format/safetensors.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

constexpr char kConfig[] = R"({"model_type":"llama","vocab_size":3,
    "hidden_size":2,"intermediate_size":4,"num_hidden_layers":1,
    "num_attention_heads":1,"tie_word_embeddings":)";

struct NamedTensor {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::string data;
};

std::string Pack(const std::vector<NamedTensor>& tensors) {
  std::string header = "{";
  std::string data;
  for (const NamedTensor& tensor : tensors) {
    absl::StrAppend(&header, header.size() > 1 ? "," : "", "\"", tensor.name,
                    "\":{\"dtype\":\"", tensor.dtype,
                    "\",\"shape\":", ShapeToString(tensor.shape),
                    ",\"data_offsets\":[", data.size(), ",",
                    data.size() + tensor.data.size(), "]}");
    data += tensor.data;
  }
  return Safetensors(header + "}", data);
}

class CheckpointTest : public testing::Test {
 protected:
  void Write(bool tied, const std::vector<NamedTensor>& tensors) {
    folder_.Write("config.json",
                  absl::StrCat(kConfig, tied ? "true" : "false", "}"));
    folder_.Write("model.safetensors", Pack(tensors));
  }

  std::unique_ptr<Checkpoint> Open() {
    auto checkpoint = Checkpoint::Open(folder_.path());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return checkpoint.ok() ? *std::move(checkpoint) : nullptr;
  }

  const ScratchFolder folder_;
  const std::vector<int64_t> embedding_shape_ = {3, 2};
  const std::string embedding_ = BytesOf<float>({1, 2, 3, 4, 5, 6});
  const std::string other_ = BytesOf<float>({6, 5, 4, 3, 2, 1});
};

TEST_F(CheckpointTest, EitherNameStandsForTiedEmbeddings) {
  for (const char* stored : {"model.embed_tokens.weight", "lm_head.weight"}) {
    Write(true, {{stored, "F32", {3, 2}, embedding_},
                 {"model.norm.weight", "F32", {2}, BytesOf<float>({1, 1})}});
    const auto checkpoint = Open();
    for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
      ASSERT_TRUE(checkpoint->Has(name)) << stored << " as " << name;
      EXPECT_EQ(checkpoint->ReadFloat(name, embedding_shape_).value(),
                (std::vector<float>{1, 2, 3, 4, 5, 6}));
    }
  }
}

TEST_F(CheckpointTest, ARedundantLmHeadOfTiedEmbeddingsIsTheEmbedding) {
  Write(true, {{"lm_head.weight", "F32", {3, 2}, other_},
               {"model.embed_tokens.weight", "F32", {3, 2}, embedding_},
               {"model.norm.weight", "F32", {2}, BytesOf<float>({1, 1})}});
  EXPECT_EQ(Open()->ReadFloat("lm_head.weight", embedding_shape_).value()[0],
            1.0f);
}

TEST_F(CheckpointTest, UntiedEmbeddingsStayApart) {
  Write(false, {{"lm_head.weight", "F32", {3, 2}, other_},
                {"model.embed_tokens.weight", "F32", {3, 2}, embedding_},
                {"model.norm.weight", "F32", {2}, BytesOf<float>({1, 1})}});
  const auto checkpoint = Open();
  EXPECT_EQ(
      checkpoint->ReadFloat("lm_head.weight", embedding_shape_).value()[0],
      6.0f);
  Write(false, {{"model.embed_tokens.weight", "F32", {3, 2}, embedding_},
                {"model.norm.weight", "F32", {2}, BytesOf<float>({1, 1})}});
  ExpectError(Open()->ReadFloat("lm_head.weight", embedding_shape_).status(),
              absl::StatusCode::kNotFound,
              {folder_.path(), "tensor \"lm_head.weight\" is missing"});
}

TEST_F(CheckpointTest, LayersThatTheConfigurationDoesNotCountAreAnError) {
  for (const char* prefix : {"model.", ""}) {
    const std::string name =
        absl::StrCat(prefix, "layers.1.input_layernorm.weight");
    Write(true, {{name, "F32", {2}, BytesOf<float>({1, 1})},
                 {absl::StrCat(prefix, "norm.weight"),
                  "F32",
                  {2},
                  BytesOf<float>({1, 1})}});
    ExpectError(Checkpoint::Open(folder_.path()).status(),
                absl::StatusCode::kInvalidArgument,
                {folder_.path(), name, "1 layers only"});
  }
}

TEST_F(CheckpointTest, NamesWithoutThePrefixAreRead) {
  Write(true, {{"embed_tokens.weight", "F32", {3, 2}, embedding_},
               {"norm.weight", "F32", {2}, BytesOf<float>({7, 8})}});
  const std::vector<int64_t> shape = {2};
  EXPECT_EQ(Open()->ReadFloat("model.norm.weight", shape).value(),
            (std::vector<float>{7, 8}));
  EXPECT_TRUE(Open()->Has("lm_head.weight"));
}

TEST_F(CheckpointTest, SixteenBitTensorsAreViewsAndMisalignedOnesCopies) {
  Write(
      true,
      {{"model.norm.weight", "BF16", {2}, BytesOf<uint16_t>({0x3f80, 0x4000})},
       {"byte", "U8", {1}, "x"},
       {"odd", "F16", {2}, BytesOf<uint16_t>({0x3c00, 0x4000})},
       {"double", "F64", {1}, Bytes(0.25)}});
  const auto checkpoint = Open();
  const std::vector<int64_t> two = {2};
  const auto norm = checkpoint->ReadDense("model.norm.weight", two);
  ASSERT_TRUE(norm.ok()) << norm.status();
  EXPECT_EQ(norm->dtype, DType::kBF16);
  const auto odd = checkpoint->ReadDense("odd", two);
  ASSERT_TRUE(odd.ok()) << odd.status();
  // The header's length decides which of the two is at an odd address.
  EXPECT_NE(norm->storage.span().empty(), odd->storage.span().empty());
  EXPECT_EQ(ToFloats(*norm, "").value(), (std::vector<float>{1, 2}));
  EXPECT_EQ(ToFloats(*odd, "").value(), (std::vector<float>{1, 2}));
  EXPECT_EQ(checkpoint->ReadFloat("odd", two).value(),
            (std::vector<float>{1, 2}));
  const std::vector<int64_t> one = {1};
  const auto wide = checkpoint->ReadDense("double", one);
  ASSERT_TRUE(wide.ok()) << wide.status();
  EXPECT_EQ(wide->dtype, DType::kF32);
  EXPECT_EQ(wide->As<float>()[0], 0.25f);
  checkpoint->Release("odd");
  checkpoint->Release("none");
}

TEST_F(CheckpointTest, WrongShapesTypesAndValuesNameTheTensor) {
  std::vector<float> values = {1, 2, 3, 4, 5, 6};
  values[4] = std::numeric_limits<float>::quiet_NaN();
  Write(true, {{"model.embed_tokens.weight", "F32", {3, 2}, BytesOf(values)},
               {"model.norm.weight", "I32", {2}, BytesOf<int>({1, 1})}});
  const auto checkpoint = Open();
  const std::vector<int64_t> two = {2};
  ExpectError(checkpoint->ReadFloat("model.embed_tokens.weight", two).status(),
              absl::StatusCode::kInvalidArgument,
              {"model.safetensors: tensor \"model.embed_tokens.weight\"",
               "[3, 2]", "needed is [2]"});
  ExpectError(checkpoint->ReadFloat("model.norm.weight", two).status(),
              absl::StatusCode::kInvalidArgument,
              {"tensor \"model.norm.weight\": type I32"});
  for (const absl::Status& status :
       {checkpoint->ReadFloat("lm_head.weight", embedding_shape_).status(),
        checkpoint->ReadDense("lm_head.weight", embedding_shape_).status()}) {
    ExpectError(status, absl::StatusCode::kDataLoss,
                {"tensor \"model.embed_tokens.weight\": element 4 is NaN"});
  }
}

TEST_F(CheckpointTest, EosTokensOfTheGenerationConfigAreAdded) {
  Write(true, {{"model.norm.weight", "F32", {2}, BytesOf<float>({1, 1})}});
  folder_.Write("generation_config.json", R"({"eos_token_id":[1, 2]})");
  EXPECT_EQ(Open()->config().eos_token_ids, (std::vector<int32_t>{2, 1}));
  folder_.Write("generation_config.json", R"({"eos_token_id": 3})");
  ExpectError(Checkpoint::Open(folder_.path()).status(),
              absl::StatusCode::kInvalidArgument,
              {"generation_config.json: eos_token_id holds 3", "0 .. 2"});
}

TEST_F(CheckpointTest, MissingFilesAreNamed) {
  ExpectError(Checkpoint::Open(folder_.File("none")).status(),
              absl::StatusCode::kNotFound, {folder_.File("none")});
  ExpectError(Checkpoint::Open(folder_.path()).status(),
              absl::StatusCode::kNotFound, {"config.json"});
  folder_.Write("config.json", absl::StrCat(kConfig, "true}"));
  ExpectError(Checkpoint::Open(folder_.path()).status(),
              absl::StatusCode::kNotFound, {"model.safetensors"});
}

TEST_F(CheckpointTest, AParentModelIsNoCheckpoint) {
  ASSERT_TRUE(WriteTinyParent(folder_.File("pm"), TinyParentConfig()).ok());
  ExpectError(Checkpoint::Open(folder_.File("pm")).status(),
              absl::StatusCode::kInvalidArgument,
              {"pm", "parent model", "unquantized"});
}

// testdata/make_golden.py: the same model under GGUF's names and row order and
// under HuggingFace's.
TEST_F(CheckpointTest, AGgufFileReadsAsHuggingFaceWouldHaveIt) {
  const auto checkpoint = Checkpoint::Open(TestData("llama.gguf"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_NE((*checkpoint)->gguf(), nullptr);
  EXPECT_EQ((*checkpoint)->config().num_kv_heads, 2);
  EXPECT_EQ((*checkpoint)->config().bos_token_id, 1);
  const auto golden = SafetensorsFile::Open(TestData("llama.safetensors"));
  ASSERT_TRUE(golden.ok()) << golden.status();
  ASSERT_EQ((*golden)->tensors().size(), 12u);
  for (const SafetensorsFile::Tensor& tensor : (*golden)->tensors()) {
    const TensorInfo& info = tensor.info;
    std::vector<float> needed(tensor.data.size() / sizeof(float));
    std::memcpy(needed.data(), tensor.data.data(), tensor.data.size());
    const auto values = (*checkpoint)->ReadFloat(info.name, info.shape);
    ASSERT_TRUE(values.ok()) << values.status();
    EXPECT_EQ(*values, needed) << info.name;
    const auto dense = (*checkpoint)->ReadDense(info.name, info.shape);
    ASSERT_TRUE(dense.ok()) << dense.status();
    EXPECT_EQ(ToFloats(*dense, info.name).value(), needed) << info.name;
  }
  const std::vector<int64_t> shape = {16, 32};
  const auto k =
      (*checkpoint)->ReadDense("model.layers.0.self_attn.k_proj.weight", shape);
  ASSERT_TRUE(k.ok()) << k.status();
  EXPECT_EQ(k->dtype, DType::kF16);  // reordered, not converted
}

TEST(TinyStoriesTest, Fp32AndBf16FilesReadToTheSameValues) {
  const char* data = std::getenv("ANYPREC_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "ANYPREC_TEST_DATA is not set";
  const std::string folder = absl::StrCat(data, "/models/TinyStories-656K");
  const auto wide = Checkpoint::Open(folder);
  ASSERT_TRUE(wide.ok()) << wide.status();
  const auto narrow = Checkpoint::Open(absl::StrCat(folder, "/original-bf16"));
  ASSERT_TRUE(narrow.ok()) << narrow.status();
  const ModelConfig& config = (*wide)->config();
  EXPECT_EQ(config.hidden_size, 128);
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.vocab_size, 2048);
  std::vector<std::string> names = {"model.embed_tokens.weight",
                                    "lm_head.weight", "model.norm.weight"};
  for (int layer = 0; layer < config.num_layers; ++layer) {
    for (const char* name :
         {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
          "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
          "input_layernorm", "post_attention_layernorm"}) {
      names.push_back(
          absl::StrCat("model.layers.", layer, ".", name, ".weight"));
    }
  }
  for (const std::string& name : names) {
    const TensorInfo* info = (*wide)->Find(name);
    ASSERT_NE(info, nullptr) << name;
    const auto a = (*wide)->ReadFloat(name, info->shape);
    const auto b = (*narrow)->ReadFloat(name, info->shape);
    ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
    EXPECT_EQ(*a, *b) << name;
  }
}

}  // namespace
}  // namespace anyprec
