#include "quantize/activation_sensitivity.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "kernels/reference/reference_backend.h"
#include "tests/quantize/tiny_checkpoint.h"

namespace anyprec {
namespace {

class ActivationSensitivityTest : public testing::Test {
 protected:
  void SetUp() override {
    tensors_ = TinyTensors();
    WriteCheckpoint(folder_ / "model", TinyConfig(), tensors_);
  }

  ActivationSensitivity::Options Options() {
    return {.checkpoint = folder_ / "model",
            .sequences = {{1, 5, 7, 30}, {2, 2, 39, 0}}};
  }

  TemporaryFolder folder_;
  FloatTensors tensors_;
  std::unique_ptr<Backend> backend_ = CreateReferenceBackend();
};

TEST_F(ActivationSensitivityTest, MeasuresTheMeanSquareOfEachInput) {
  const ModelConfig config = TinyConfig();
  const int k = config.hidden_size;
  const std::vector<float>& embedding =
      tensors_["model.embed_tokens.weight"].values;
  const std::vector<float>& norm =
      tensors_["model.layers.0.input_layernorm.weight"].values;
  // The inputs of the first q, k and v are normed embeddings.
  std::vector<double> expected(k);
  for (const auto& sequence : Options().sequences) {
    for (const int32_t token : sequence) {
      const float* x = embedding.data() + static_cast<size_t>(token) * k;
      double square = 0;
      for (int i = 0; i < k; ++i) square += static_cast<double>(x[i]) * x[i];
      const double scale = 1.0 / (square / k + config.rms_norm_eps);
      for (int i = 0; i < k; ++i) {
        expected[i] += std::pow(x[i] * norm[i], 2.0) * scale / 8;
      }
    }
  }
  ActivationSensitivity source(Options(), *backend_);
  for (const std::string name : {"q_proj", "k_proj", "v_proj"}) {
    const auto weights =
        source.WeightsFor("model.layers.0.self_attn." + name, 16, k);
    ASSERT_TRUE(weights.ok()) << weights.status();
    for (int i = 0; i < k; ++i) {
      EXPECT_NEAR(weights->Row(0)[i], expected[i], 1e-5 * expected[i]);
      EXPECT_EQ(weights->Row(15)[i], weights->Row(0)[i]);
    }
  }
}

TEST_F(ActivationSensitivityTest, KnowsEveryLayer) {
  ActivationSensitivity source(Options(), *backend_);
  for (const auto& [name, tensor] : tensors_) {
    if (name.find("_proj") == std::string::npos) continue;
    const int n = static_cast<int>(tensor.shape[0]);
    const int k = static_cast<int>(tensor.shape[1]);
    EXPECT_TRUE(source.WeightsFor(name.substr(0, name.rfind('.')), n, k).ok())
        << name;
  }
}

TEST_F(ActivationSensitivityTest, ReadsItsCacheInsteadOfMeasuringAgain) {
  ActivationSensitivity::Options options = Options();
  options.cache_path = folder_ / "cache";
  int passes = 0;
  options.progress = [&](int) { ++passes; };
  const std::string layer = "model.layers.2.mlp.down_proj";
  std::vector<float> first;
  {
    ActivationSensitivity source(options, *backend_);
    const auto weights = source.WeightsFor(layer, 32, 96);
    ASSERT_TRUE(weights.ok()) << weights.status();
    first.assign(weights->Row(0).begin(), weights->Row(0).end());
  }
  EXPECT_EQ(passes, 2);
  {
    ActivationSensitivity source(options, *backend_);
    const auto weights = source.WeightsFor(layer, 32, 96);
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ(
        std::vector<float>(weights->Row(0).begin(), weights->Row(0).end()),
        first);
  }
  EXPECT_EQ(passes, 2);
  // Another text, then another checkpoint: the cache does not count.
  options.sequences[0][0] = 3;
  {
    ActivationSensitivity source(options, *backend_);
    ASSERT_TRUE(source.WeightsFor(layer, 32, 96).ok());
  }
  EXPECT_EQ(passes, 4);
  options.checkpoint = folder_ / "other";
  tensors_[layer + ".weight"].values[5] += 1;
  WriteCheckpoint(folder_ / "other", TinyConfig(), tensors_);
  ActivationSensitivity source(options, *backend_);
  ASSERT_TRUE(source.WeightsFor(layer, 32, 96).ok());
  EXPECT_EQ(passes, 6);
}

TEST_F(ActivationSensitivityTest, ReportsALayerThatTheCheckpointLacks) {
  ActivationSensitivity source(Options(), *backend_);
  const absl::Status status = source.WeightsFor("no.such.layer", 8, 8).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(status.message().find("no.such.layer"), absl::string_view::npos);
}

TEST_F(ActivationSensitivityTest, RejectsTokensOutsideTheVocabulary) {
  ActivationSensitivity::Options options = Options();
  options.sequences[1][2] = 40;
  ActivationSensitivity source(options, *backend_);
  const absl::Status status =
      source.WeightsFor("model.layers.0.mlp.up_proj", 96, 32).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("token 40"), absl::string_view::npos);
}

TEST_F(ActivationSensitivityTest, RejectsSequencesBeyondTheContext) {
  ActivationSensitivity::Options options = Options();
  options.sequences = {std::vector<int32_t>(65, 1)};
  ActivationSensitivity source(options, *backend_);
  const absl::Status status =
      source.WeightsFor("model.layers.0.mlp.up_proj", 96, 32).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("65 tokens, the model's context has 64"),
            absl::string_view::npos)
      << status;
}

TEST_F(ActivationSensitivityTest, FingerprintFollowsTheTokens) {
  ActivationSensitivity::Options other = Options();
  other.sequences[1][3] = 9;
  EXPECT_EQ(ActivationSensitivity(Options(), *backend_).fingerprint(),
            ActivationSensitivity(Options(), *backend_).fingerprint());
  EXPECT_NE(ActivationSensitivity(Options(), *backend_).fingerprint(),
            ActivationSensitivity(other, *backend_).fingerprint());
}

}  // namespace
}  // namespace anyprec
