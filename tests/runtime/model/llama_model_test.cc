#include "runtime/model/llama_model.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/row_sampler.h"
#include "kernels/reference/reference_backend.h"
#include "runtime/format/parent_model_file.h"
#include "runtime/format/tensor.h"
#include "runtime/model/llama_loader.h"
#include "runtime/model/synthetic_source.h"
#include "tests/quantize/tiny_checkpoint.h"
#include "tests/runtime/format/test_files.h"
#include "tests/runtime/model/golden_case.h"
#include "tests/runtime/model/llama2c_source.h"

namespace anyprec {
namespace {

// Of the goldens' float64 logits, in fp32 mode: 30 layers of fp32 rounding stay
// well below it on models of this size.
constexpr double kLogitTolerance = 2e-3;

std::optional<std::string> PublicData(const std::string& path) {
  const char* root = std::getenv("ANYPREC_TEST_DATA");
  if (root == nullptr) return std::nullopt;
  return absl::StrCat(root, "/", path);
}

std::unique_ptr<Backend> CpuBackend(ComputeMode mode) {
  auto backend = CreateCpuBackend({.threads = 2, .mode = mode});
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

class CheckpointGoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(CheckpointGoldenTest, ReproducesTheLogitsOfTinyStories656K) {
  const auto folder = PublicData("models/TinyStories-656K");
  if (!folder) GTEST_SKIP() << "ANYPREC_TEST_DATA is not set";
  const std::unique_ptr<Backend> backend = CpuBackend(ComputeMode::kFloat32);
  const auto model = LlamaModel::LoadCheckpoint(
      absl::StrCat(*folder, GetParam()), {}, *backend);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto cases = ReadGoldenCases(absl::StrCat(*folder, "/expected.json"));
  ASSERT_TRUE(cases.ok()) << cases.status();
  ExpectGolden(*cases, kLogitTolerance, **model, *backend);
}

INSTANTIATE_TEST_SUITE_P(Fp32AndBf16, CheckpointGoldenTest,
                         testing::Values("", "/original-bf16"));

TEST(LlamaModelTest, ReproducesTheLogitsOfStories260K) {
  const auto folder = PublicData("models/stories260K");
  if (!folder) GTEST_SKIP() << "ANYPREC_TEST_DATA is not set";
  const std::unique_ptr<Backend> backend = CpuBackend(ComputeMode::kFloat32);
  const auto source =
      Llama2cSource::Open(absl::StrCat(*folder, "/stories260K.bin"));
  ASSERT_TRUE(source.ok()) << source.status();
  const LoadOptions options;
  const auto model = LlamaLoader(**source, options, *backend).Load();
  ASSERT_TRUE(model.ok()) << model.status();
  const auto cases = ReadGoldenCases(absl::StrCat(*folder, "/expected.json"));
  ASSERT_TRUE(cases.ok()) << cases.status();
  ExpectGolden(*cases, kLogitTolerance, **model, *backend);
}

TEST(LlamaModelTest, ReproducesTheLogitsOfTheEmbeddedModel) {
  const std::unique_ptr<Backend> backend = CpuBackend(ComputeMode::kFloat32);
  const auto model =
      LlamaModel::LoadCheckpoint("tests/testdata/tiny-llama", {}, *backend);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto cases = ReadGoldenCases("tests/testdata/tiny-llama/golden.json");
  ASSERT_TRUE(cases.ok()) << cases.status();
  ExpectGolden(*cases, kLogitTolerance, **model, *backend);
}

// A model small enough to run on the reference backend's plain loops.
ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocab_size = 96;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.max_position_embeddings = 64;
  return config;
}

std::unique_ptr<LlamaModel> SmallModel(Backend& backend) {
  SyntheticSource source(SmallConfig(), kMaxBits);
  const LoadOptions options;
  auto model = LlamaLoader(source, options, backend).Load();
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

// Logits of the last of `tokens`, all prefilled in one step at `bits`.
std::vector<float> LastLogits(LlamaModel& model, Backend& backend, int bits,
                              const std::vector<int32_t>& tokens,
                              ActivationObserver* observer = nullptr) {
  const int rows = static_cast<int>(tokens.size());
  std::vector<int32_t> blocks((rows + 15) / 16);
  std::iota(blocks.begin(), blocks.end(), 0);
  auto kv = backend.AllocateKv(
      model.KvLayoutFor(16, static_cast<int>(blocks.size())), KvType::kFloat32);
  EXPECT_TRUE(kv.ok()) << kv.status();
  const SequenceRows sequence = {.rows = rows, .blocks = blocks};
  const RowGroup group = {
      .end = rows, .precision = bits, .phase = Phase::kPrefill};
  const int32_t last = rows - 1;
  const auto output = model.Forward({.tokens = tokens,
                                     .sequences = {&sequence, 1},
                                     .groups = {&group, 1},
                                     .logit_rows = {&last, 1}},
                                    **kv, observer);
  EXPECT_TRUE(output.ok()) << output.status();
  return {output->logits.begin(), output->logits.end()};
}

TEST(LlamaModelTest, CpuAgreesWithTheReferenceAtEveryPrecision) {
  const std::unique_ptr<Backend> reference = CreateReferenceBackend();
  const std::unique_ptr<Backend> cpu = CpuBackend(ComputeMode::kFloat32);
  const std::unique_ptr<LlamaModel> expected = SmallModel(*reference);
  const std::unique_ptr<LlamaModel> actual = SmallModel(*cpu);
  const std::vector<int32_t> tokens = {1,  50, 3,  95, 0,  7,  7,  20, 33,
                                       64, 2,  11, 13, 17, 19, 23, 29, 31};
  for (int bits = expected->seed_bits(); bits <= expected->max_bits(); ++bits) {
    SCOPED_TRACE(absl::StrCat(bits, " bits"));
    EXPECT_THAT(
        LastLogits(*actual, *cpu, bits, tokens),
        testing::Pointwise(testing::FloatNear(1e-3f),
                           LastLogits(*expected, *reference, bits, tokens)));
  }
}

// A checkpoint of the weights that a parent model has at `bits`.
void WriteOut(const std::string& parent, int bits, const std::string& folder) {
  const auto file = ParentModelFile::Open(parent, {});
  ASSERT_TRUE(file.ok()) << file.status();
  ModelConfig config = (*file)->config();
  FloatTensors tensors;
  for (int layer = 0; layer <= config.num_layers; ++layer) {
    for (const TensorInfo& info : DenseTensorSpecs(config, layer)) {
      const auto dense = (*file)->LoadDense(info.name);
      ASSERT_TRUE(dense.ok()) << dense.status();
      tensors[info.name] = {info.shape, *ToFloats(*dense, info.name)};
    }
    if (layer == config.num_layers) break;
    for (const LinearSpec& spec : LinearSpecs(config, layer)) {
      const auto linear = (*file)->LoadLinear(spec.name);
      ASSERT_TRUE(linear.ok()) << linear.status();
      FloatTensor& tensor = tensors[spec.name + ".weight"];
      tensor.shape = {spec.n, spec.k};
      for (int row = 0; row < spec.n; ++row) {
        for (int column = 0; column < spec.k; ++column) {
          tensor.values.push_back(WeightAt(linear->View(), bits, row, column));
        }
      }
    }
  }
  config.quantization.reset();
  WriteCheckpoint(folder, config, tensors);
}

TEST(LlamaModelTest, ParentModelsHaveTheLogitsOfTheirWeightsWrittenOut) {
  const std::unique_ptr<Backend> backend = CreateReferenceBackend();
  const ScratchFolder scratch;
  for (ModelConfig config : {TinyParentConfig(), TinyBcqParentConfig()}) {
    config.quantization->lm_head = "fp16";
    const std::string parent = scratch.File(config.quantization->scheme);
    ASSERT_TRUE(WriteTinyParent(parent, config).ok());
    const auto model = LlamaModel::LoadParent(parent, {}, *backend);
    ASSERT_TRUE(model.ok()) << model.status();
    for (int bits = 2; bits <= 3; ++bits) {
      const std::string folder = absl::StrCat(parent, bits);
      WriteOut(parent, bits, folder);
      const auto expected = LlamaModel::LoadCheckpoint(folder, {}, *backend);
      ASSERT_TRUE(expected.ok()) << expected.status();
      const std::vector<int32_t> tokens = {1, 3, 0, 2, 2, 1};
      // The reference adds the same fp32 weights up in the same order.
      EXPECT_EQ(LastLogits(**model, *backend, bits, tokens),
                LastLogits(**expected, *backend, kUnquantizedBits, tokens))
          << folder;
    }
    EXPECT_LT((*model)->WeightBytesRead(2), (*model)->WeightBytesRead(3));
  }
}

// A step of two decode rows and the prompts of two more sequences, whose last
// rows yield something each: those in `drawn_rows` a token, the others logits.
struct MixedOutput {
  std::vector<float> logits;
  std::vector<int32_t> tokens;
};
constexpr int32_t kYieldingRows[] = {0, 1, 5, 8};

// Greedy for one of them, otherwise as hot as makes all tokens likely.
TokenDraw DrawFromRow(int32_t row) {
  return {.row = row,
          .temperature = row == 1 ? 0.0f : 2.0f,
          .top_p = 0.99f,
          .seed = 7,
          .index = 3 * row};
}

MixedOutput MixedStep(LlamaModel& model, Backend& backend,
                      const std::set<int32_t>& drawn_rows) {
  const std::vector<int32_t> tokens = {5, 6, 1, 2, 3, 4, 7, 8, 9};
  const std::vector<int32_t> blocks = {0, 1, 2, 3};
  const std::span<const int32_t> table = blocks;
  const std::vector<SequenceRows> sequences = {{0, 1, 0, table.subspan(0, 1)},
                                               {1, 1, 0, table.subspan(1, 1)},
                                               {2, 4, 0, table.subspan(2, 1)},
                                               {6, 3, 0, table.subspan(3, 1)}};
  const std::vector<RowGroup> groups = {{0, 1, 3, Phase::kDecode},
                                        {1, 2, 5, Phase::kDecode},
                                        {2, 6, 4, Phase::kPrefill},
                                        {6, 9, 8, Phase::kPrefill}};
  std::vector<TokenDraw> draws;
  std::vector<int32_t> others;
  for (const int32_t row : kYieldingRows) {
    if (drawn_rows.contains(row)) {
      draws.push_back(DrawFromRow(row));
    } else {
      others.push_back(row);
    }
  }
  auto kv = backend.AllocateKv(model.KvLayoutFor(16, 4), KvType::kFloat32);
  EXPECT_TRUE(kv.ok()) << kv.status();
  const auto output = model.Forward({.tokens = tokens,
                                     .sequences = sequences,
                                     .groups = groups,
                                     .logit_rows = others,
                                     .draws = draws},
                                    **kv);
  EXPECT_TRUE(output.ok()) << output.status();
  return {{output->logits.begin(), output->logits.end()},
          {output->tokens.begin(), output->tokens.end()}};
}

TEST(LlamaModelTest, TokensAreDrawnFromTheLogitsThatAreNotAskedFor) {
  for (const bool on_cpu : {false, true}) {
    const std::unique_ptr<Backend> backend =
        on_cpu ? CpuBackend(ComputeMode::kInt16) : CreateReferenceBackend();
    const std::unique_ptr<LlamaModel> model = SmallModel(*backend);
    const size_t vocab = model->config().vocab_size;
    const MixedOutput all = MixedStep(*model, *backend, {});
    RowScratch scratch;
    ASSERT_EQ(all.logits.size(), std::size(kYieldingRows) * vocab);
    for (int subset = 0; subset < 1 << std::size(kYieldingRows); ++subset) {
      std::set<int32_t> drawn_rows;
      MixedOutput want;
      for (size_t i = 0; i < std::size(kYieldingRows); ++i) {
        const auto row = all.logits.begin() + static_cast<long>(i * vocab);
        const auto end = row + static_cast<long>(vocab);
        if ((subset >> i & 1) != 0) {
          drawn_rows.insert(kYieldingRows[i]);
          want.tokens.push_back(
              DrawToken({row, end}, DrawFromRow(kYieldingRows[i]), scratch));
        } else {
          want.logits.insert(want.logits.end(), row, end);
        }
      }
      const MixedOutput got = MixedStep(*model, *backend, drawn_rows);
      EXPECT_EQ(got.tokens, want.tokens) << subset;
      EXPECT_EQ(got.logits, want.logits) << subset;
    }
  }
}

TEST(LlamaModelTest, ReadsFewerBytesAtALowerPrecisionFromTheSameWeights) {
  const std::unique_ptr<Backend> backend = CpuBackend(ComputeMode::kInt16);
  const std::unique_ptr<LlamaModel> model = SmallModel(*backend);
  for (int bits = model->seed_bits(); bits < model->max_bits(); ++bits) {
    EXPECT_LT(model->WeightBytesRead(bits), model->WeightBytesRead(bits + 1));
  }
  EXPECT_LT(model->WeightBytesRead(model->max_bits()),
            model->WeightBytesResident());
}

class NameObserver final : public ActivationObserver {
 public:
  void OnLinearInput(absl::string_view name, const float* x, int rows,
                     int k) override {
    names.insert(std::string(name));
    for (int i = 0; i < rows * k; ++i) EXPECT_FALSE(std::isnan(x[i]));
  }
  std::set<std::string> names;
};

TEST(LlamaModelTest, ObserverSeesTheInputOfEveryLinearLayer) {
  const std::unique_ptr<Backend> backend = CpuBackend(ComputeMode::kInt16);
  const std::unique_ptr<LlamaModel> model = SmallModel(*backend);
  NameObserver observer;
  LastLogits(*model, *backend, 4, {1, 2, 3}, &observer);
  EXPECT_EQ(observer.names.size(), 7 * model->config().num_layers);
  EXPECT_TRUE(observer.names.contains("model.layers.1.mlp.down_proj"));
  EXPECT_TRUE(observer.names.contains("model.layers.0.self_attn.k_proj"));
}

TEST(LlamaModelTest, RefusesAContextLongerThanTheModels) {
  const std::unique_ptr<Backend> backend = CpuBackend(ComputeMode::kInt16);
  SyntheticSource source(SmallConfig(), kMaxBits);
  const LoadOptions options = {.max_context_tokens = 65};
  const auto model = LlamaLoader(source, options, *backend).Load();
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()),
              testing::HasSubstr("at most 64"));
}

}  // namespace
}  // namespace anyprec
