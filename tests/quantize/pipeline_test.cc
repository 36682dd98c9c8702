#include "quantize/pipeline.h"

#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "kernels/bit_plane.h"
#include "kernels/cpu/thread_pool.h"
#include "quantize/row_quantizer.h"
#include "quantize/sensitivity.h"
#include "runtime/format/checkpoint.h"
#include "runtime/format/parent_model_file.h"
#include "tests/quantize/tiny_checkpoint.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

// Uniform, until it is asked for one layer: then it does as told.
class TrapSensitivity : public UniformSensitivity {
 public:
  TrapSensitivity(std::string layer, int signal)
      : layer_(std::move(layer)), signal_(signal) {}
  absl::StatusOr<SampleWeights> WeightsFor(absl::string_view layer, int n,
                                           int k) override {
    if (layer != layer_) return UniformSensitivity::WeightsFor(layer, n, k);
    if (signal_ != 0) std::raise(signal_);
    return absl::InternalError("trapped");
  }

 private:
  const std::string layer_;
  const int signal_;
};

const RowFormat kCodebooks = {.range = {3, 8}};
// down_proj has groups of 64 and 32 columns.
const RowFormat kScales = {
    .range = {2, 4}, .scheme = Scheme::kBinaryCoded, .group_size = 64};

class PipelineTest : public testing::Test {
 protected:
  PipelineTest() : tensors_(TinyTensors()) {
    // Fork, as the kill below needs it, and threads do not mix otherwise.
    testing::FLAGS_gtest_death_test_style = "threadsafe";
  }

  absl::StatusOr<PipelineReport> Quantize(const std::string& output,
                                          SensitivitySource& sensitivity,
                                          PipelineOptions options,
                                          int threads) {
    const auto checkpoint = Checkpoint::Open(folder_ / "model");
    if (!checkpoint.ok()) return checkpoint.status();
    options.output = output;
    options.show_progress = false;
    ThreadPool pool({.threads = threads});
    return QuantizeCheckpoint(**checkpoint, sensitivity, options, pool);
  }

  absl::StatusOr<PipelineReport> QuantizeUniformly(
      const std::string& output, const PipelineOptions& options = {},
      int threads = 2) {
    UniformSensitivity uniform;
    return Quantize(output, uniform, options, threads);
  }

  void WriteModel() {
    WriteCheckpoint(folder_ / "model", TinyConfig(), tensors_);
  }

  // What QuantizeUniformly says of the checkpoint.
  void ExpectError(absl::StatusCode code, const std::string& part) {
    const absl::Status status = QuantizeUniformly(folder_ / "out").status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), part)) << status;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
  }

  TemporaryFolder folder_;
  FloatTensors tensors_;
};

TEST_F(PipelineTest, WritesParentModelsThatResembleTheCheckpoint) {
  WriteModel();
  for (const RowFormat& format : {kCodebooks, kScales}) {
    const auto& [seed_bits, parent_bits] = format.range;
    const std::string output =
        folder_ / (format.scheme == Scheme::kCodebooks ? "iu" : "bcq");
    const auto report = QuantizeUniformly(output, {.format = format});
    ASSERT_TRUE(report.ok()) << report.status();
    const auto parent = ParentModelFile::Open(output, {});
    ASSERT_TRUE(parent.ok()) << parent.status();
    EXPECT_EQ((*parent)->seed_bits(), seed_bits);
    EXPECT_EQ((*parent)->parent_bits(), parent_bits);
    EXPECT_EQ((*parent)->config().quantization->group_size, format.group_size);
    std::vector<double> squared_error(9), squared_norm(9);
    for (const auto& [name, tensor] : tensors_) {
      if (!absl::StrContains(name, "_proj")) continue;
      const auto linear =
          (*parent)->LoadLinear(name.substr(0, name.rfind('.')));
      ASSERT_TRUE(linear.ok()) << linear.status();
      for (int p = seed_bits; p <= parent_bits; ++p) {
        for (int row = 0; row < linear->n; ++row) {
          for (int column = 0; column < linear->k; ++column) {
            const double weight =
                tensor.values[static_cast<size_t>(row) * linear->k + column];
            const double error =
                weight - WeightAt(linear->View(), p, row, column);
            squared_error[p] += error * error;
            squared_norm[p] += weight * weight;
          }
        }
      }
    }
    for (int p = seed_bits; p <= parent_bits; ++p) {
      EXPECT_NEAR(report->RelativeError(p), squared_error[p] / squared_norm[p],
                  1e-9 * report->RelativeError(p));
      if (p > seed_bits) {
        EXPECT_LT(report->RelativeError(p), report->RelativeError(p - 1));
      }
    }
  }
}

TEST_F(PipelineTest, KeepsDenseTensors) {
  WriteModel();
  ASSERT_TRUE(QuantizeUniformly(folder_ / "out").ok());
  const auto parent = ParentModelFile::Open(folder_ / "out", {});
  ASSERT_TRUE(parent.ok()) << parent.status();
  for (const std::string name :
       {"model.norm.weight", "model.layers.1.input_layernorm.weight"}) {
    const auto norm = (*parent)->LoadDense(name);
    ASSERT_TRUE(norm.ok()) << norm.status();
    const auto values = norm->As<float>();
    EXPECT_EQ(std::vector<float>(values.begin(), values.end()),
              tensors_[name].values);
  }
  for (const std::string name :
       {"model.embed_tokens.weight", "lm_head.weight"}) {
    const auto dense = (*parent)->LoadDense(name);
    ASSERT_TRUE(dense.ok()) << dense.status();
    ASSERT_EQ(dense->dtype, DType::kF16);
    for (size_t i = 0; i < tensors_[name].values.size(); ++i) {
      EXPECT_EQ(dense->As<Float16>()[i].bits,
                ToFloat16(tensors_[name].values[i]).bits);
    }
  }
}

TEST_F(PipelineTest, WritesLmHeadAsInt8WithinHalfAScale) {
  WriteModel();
  ASSERT_TRUE(
      QuantizeUniformly(folder_ / "out", {.lm_head = LmHeadType::kInt8}).ok());
  const auto parent = ParentModelFile::Open(folder_ / "out", {});
  ASSERT_TRUE(parent.ok()) << parent.status();
  const auto values = (*parent)->LoadDense("lm_head.weight");
  const auto scales = (*parent)->LoadDense("lm_head.scale");
  ASSERT_TRUE(values.ok() && scales.ok());
  const std::vector<float>& weights = tensors_["lm_head.weight"].values;
  for (size_t i = 0; i < weights.size(); ++i) {
    const float scale = scales->As<float>()[i / TinyConfig().hidden_size];
    EXPECT_LE(std::abs(weights[i] - values->As<int8_t>()[i] * scale),
              0.50001f * scale);
  }
}

TEST_F(PipelineTest, GivesTheSameBytesWhateverTheNumberOfThreads) {
  WriteModel();
  for (const RowFormat& format : {kCodebooks, kScales}) {
    PipelineOptions options = {.format = format, .overwrite = true};
    ASSERT_TRUE(QuantizeUniformly(folder_ / "one", options, 1).ok());
    ASSERT_TRUE(QuantizeUniformly(folder_ / "five", options, 5).ok());
    EXPECT_EQ(ReadFolder(folder_ / "one"), ReadFolder(folder_ / "five"));
  }
}

TEST_F(PipelineTest, ContinuesAfterAnErrorWithTheSameBytes) {
  WriteModel();
  const auto whole = QuantizeUniformly(folder_ / "whole");
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->layers_resumed, 0);
  TrapSensitivity trap("model.layers.2.mlp.up_proj", 0);
  EXPECT_FALSE(Quantize(folder_ / "out", trap, {}, 2).ok());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
  const auto resumed = QuantizeUniformly(folder_ / "out");
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->layers_resumed, 2);
  EXPECT_EQ(resumed->totals.weights, whole->totals.weights);
  EXPECT_EQ(resumed->totals.error.squared_error,
            whole->totals.error.squared_error);
  EXPECT_EQ(ReadFolder(folder_ / "out"), ReadFolder(folder_ / "whole"));
}

using PipelineDeathTest = PipelineTest;

TEST_F(PipelineDeathTest, ContinuesAfterAKillWithTheSameBytes) {
  WriteModel();
  // The same path in the test's process and in the one that is killed.
  const std::string output =
      testing::TempDir() + "/continues-after-a-kill.model";
  EXPECT_EXIT(
      {
        TrapSensitivity trap("model.layers.1.self_attn.v_proj", SIGKILL);
        WriteCheckpoint(testing::TempDir() + "/killed", TinyConfig(), tensors_);
        const auto checkpoint =
            Checkpoint::Open(testing::TempDir() + "/killed");
        ThreadPool pool({.threads = 2});
        (void)QuantizeCheckpoint(**checkpoint, trap,
                                 {.output = output, .show_progress = false},
                                 pool);
      },
      testing::KilledBySignal(SIGKILL), "");
  const auto checkpoint = Checkpoint::Open(testing::TempDir() + "/killed");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  UniformSensitivity uniform;
  ThreadPool pool({.threads = 1});
  const auto resumed = QuantizeCheckpoint(
      **checkpoint, uniform, {.output = output, .show_progress = false}, pool);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->layers_resumed, 1);
  ASSERT_TRUE(QuantizeUniformly(folder_ / "whole").ok());
  EXPECT_EQ(ReadFolder(output), ReadFolder(folder_ / "whole"));
  std::filesystem::remove_all(output);
  std::filesystem::remove_all(testing::TempDir() + "/killed");
}

TEST_F(PipelineTest, StartsAfreshWhenTheSettingsDiffer) {
  WriteModel();
  RowFormat wider = kScales;
  wider.group_size = 96;
  RowFormat codebooks = {.range = kScales.range};
  for (const RowFormat& other : {wider, codebooks, kCodebooks}) {
    TrapSensitivity trap("model.layers.2.mlp.up_proj", 0);
    EXPECT_FALSE(Quantize(folder_ / "out", trap, {.format = kScales}, 2).ok());
    const auto report = QuantizeUniformly(folder_ / "out", {.format = other});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->layers_resumed, 0);
    std::filesystem::remove_all(folder_ / "out");
  }
}

TEST_F(PipelineTest, NeverContinuesWithAnotherModel) {
  WriteModel();
  const std::string weights = folder_ / "model/model.safetensors";
  const auto time = std::filesystem::last_write_time(weights);
  TrapSensitivity trap("model.layers.2.mlp.up_proj", 0);
  EXPECT_FALSE(Quantize(folder_ / "out", trap, {}, 2).ok());
  // Of the same size and time, as `cp -p` of a fine-tuned one would be.
  tensors_["model.layers.0.mlp.up_proj.weight"].values[0] += 1;
  WriteModel();
  std::filesystem::last_write_time(weights, time);
  const auto report = QuantizeUniformly(folder_ / "out");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->layers_resumed, 0);
}

TEST_F(PipelineTest, KeepsTheOldModelWhereTheNewOneFails) {
  WriteModel();
  ASSERT_TRUE(QuantizeUniformly(folder_ / "out").ok());
  const auto before = ReadFolder(folder_ / "out");
  TrapSensitivity trap("model.layers.2.mlp.up_proj", 0);
  EXPECT_FALSE(Quantize(folder_ / "out", trap,
                        {.format = {.range = {2, 4}}, .overwrite = true}, 2)
                   .ok());
  std::filesystem::remove_all(folder_ / "out/.partial");
  EXPECT_EQ(ReadFolder(folder_ / "out"), before);
}

TEST_F(PipelineTest, NeverTouchesAnOutputThatIsNoParentModel) {
  WriteModel();
  std::filesystem::create_directories(folder_ / "out");
  WriteFile(folder_ / "out/thesis.txt", "years of work");
  for (const bool overwrite : {false, true}) {
    EXPECT_EQ(QuantizeUniformly(folder_ / "out", {.overwrite = overwrite})
                  .status()
                  .code(),
              absl::StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(ReadFile(folder_ / "out/thesis.txt"), "years of work");
}

TEST_F(PipelineTest, ReplacesAParentModelOnlyWhenAsked) {
  WriteModel();
  ASSERT_TRUE(QuantizeUniformly(folder_ / "out").ok());
  const auto before = ReadFolder(folder_ / "out");
  EXPECT_EQ(QuantizeUniformly(folder_ / "out", {.format = {.range = {2, 4}}})
                .status()
                .code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReadFolder(folder_ / "out"), before);
  const auto report = QuantizeUniformly(
      folder_ / "out", {.format = {.range = {2, 4}}, .overwrite = true});
  ASSERT_TRUE(report.ok()) << report.status();
  const auto parent = ParentModelFile::Open(folder_ / "out", {});
  ASSERT_TRUE(parent.ok()) << parent.status();
  EXPECT_EQ((*parent)->seed_bits(), 2);
}

TEST_F(PipelineTest, CountsBitsWithCodebooks) {
  WriteModel();
  const auto report =
      QuantizeUniformly(folder_ / "out", {.format = {.range = {3, 4}}});
  ASSERT_TRUE(report.ok()) << report.status();
  // Rows per weight, from the shapes of TinyConfig().
  const double rows = 32 + 16 + 16 + 32 + 96 + 96 + 32;
  const double weights = 32 * (32 + 16 + 16 + 32 + 96 + 96 + 96);
  EXPECT_NEAR(report->BitsPerWeight(3), 3 + 16 * 8 * rows / weights, 1e-9);
  EXPECT_NEAR(report->BitsPerWeightStored(), 4 + 16 * (8 + 16) * rows / weights,
              1e-9);
}

TEST_F(PipelineTest, CountsBitsWithScales) {
  WriteModel();
  const auto report = QuantizeUniformly(folder_ / "out", {.format = kScales});
  ASSERT_TRUE(report.ok()) << report.status();
  // Groups per weight, from the shapes of TinyConfig(): rows of 96 have two.
  const double groups = 32 + 16 + 16 + 32 + 96 + 96 + 2 * 32;
  const double weights = 32 * (32 + 16 + 16 + 32 + 96 + 96 + 96);
  EXPECT_NEAR(report->BitsPerWeight(2), 2 + 16 * 3 * groups / weights, 1e-9);
  EXPECT_NEAR(report->BitsPerWeight(4), 4 + 16 * 5 * groups / weights, 1e-9);
  EXPECT_NEAR(report->BitsPerWeightStored(),
              4 + 16 * (3 + 4 + 5) * groups / weights, 1e-9);
}

TEST_F(PipelineTest, NamesATensorThatIsMissing) {
  tensors_.erase("model.layers.1.mlp.down_proj.weight");
  WriteModel();
  ExpectError(absl::StatusCode::kNotFound,
              "model.layers.1.mlp.down_proj.weight");
}

TEST_F(PipelineTest, NamesATensorOfAnotherShape) {
  tensors_["model.layers.0.self_attn.k_proj.weight"].shape = {32, 16};
  WriteModel();
  ExpectError(absl::StatusCode::kInvalidArgument,
              "model.layers.0.self_attn.k_proj.weight");
}

TEST_F(PipelineTest, NamesATensorWithNaN) {
  tensors_["model.layers.2.mlp.gate_proj.weight"].values[17] =
      std::numeric_limits<float>::quiet_NaN();
  WriteModel();
  ExpectError(absl::StatusCode::kDataLoss,
              "model.layers.2.mlp.gate_proj.weight");
}

TEST_F(PipelineTest, NamesAnEmbeddingBeyondFp16) {
  tensors_["model.embed_tokens.weight"].values[3] = 1e6f;
  WriteModel();
  ExpectError(absl::StatusCode::kDataLoss, "model.embed_tokens.weight");
}

TEST_F(PipelineTest, RejectsInputsThatFillNoWord) {
  ModelConfig config = TinyConfig();
  config.intermediate_size = 80;  // down_proj's inputs: not a multiple of 32
  WriteCheckpoint(folder_ / "model", config, tensors_);
  ExpectError(absl::StatusCode::kInvalidArgument, "32");
}

}  // namespace
}  // namespace anyprec
