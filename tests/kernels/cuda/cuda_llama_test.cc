// The embedded model on the emulated device, from its planes to its logits,
// beside the CPU in fp32.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cuda/cuda_backend.h"
#include "quantize/pipeline.h"
#include "quantize/sensitivity.h"
#include "runtime/format/checkpoint.h"
#include "runtime/model/llama_model.h"
#include "tests/conformance/backend_test_data.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

constexpr char kCheckpoint[] = "tests/testdata/tiny-llama";
constexpr int kBlockTokens = 16;

// Decode rows are computed in fp32 on both sides: logits reach 20, where an ulp
// is 2e-6, and 5 layers add some tens of them.
constexpr double kDecodeTolerance = 1e-4;
// Prefill rows have their activations rounded to fp16 in each linear layer: at
// most 2^-11 of such logits, and as much again for the layers before.
constexpr double kPrefillTolerance = 2e-2;

// The embedded model quantized to 3 to 8 bits, once for all tests.
const std::string& ParentFolder() {
  static const ScratchFolder& scratch = *new ScratchFolder;
  static const std::string folder = [] {
    const std::string output = scratch.File("parent");
    const auto checkpoint = Checkpoint::Open(kCheckpoint);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    UniformSensitivity uniform;
    ThreadPool pool({.threads = 2});
    PipelineOptions options;
    options.output = output;
    options.show_progress = false;
    const auto report =
        QuantizeCheckpoint(**checkpoint, uniform, options, pool);
    EXPECT_TRUE(report.ok()) << report.status();
    return output;
  }();
  return folder;
}

// The model in a backend's memory, and one sequence.
class ModelRun {
 public:
  ModelRun(absl::StatusOr<std::unique_ptr<Backend>> backend, int max_tokens)
      : backend_(*std::move(backend)), blocks_(max_tokens / kBlockTokens + 1) {
    auto model = LlamaModel::LoadParent(ParentFolder(), {}, *backend_);
    EXPECT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    // Descending: a block table need not be in order.
    std::iota(blocks_.rbegin(), blocks_.rend(), 0);
    Restart();
  }

  // Forgets the sequence.
  void Restart() {
    auto kv = backend_->AllocateKv(
        model_->KvLayoutFor(kBlockTokens, static_cast<int>(blocks_.size())),
        KvType::kFloat32);
    EXPECT_TRUE(kv.ok()) << kv.status();
    kv_ = *std::move(kv);
    position_ = 0;
  }

  // Logits of all of `tokens`, appended to what came before.
  std::vector<float> Append(std::span<const int32_t> tokens, int bits,
                            Phase phase) {
    const int rows = static_cast<int>(tokens.size());
    const SequenceRows sequence = {0, rows, position_, blocks_};
    const RowGroup group = {0, rows, bits, phase};
    std::vector<int32_t> logit_rows(rows);
    std::iota(logit_rows.begin(), logit_rows.end(), 0);
    const auto logits = model_->Forward({.tokens = tokens,
                                         .sequences = {&sequence, 1},
                                         .groups = {&group, 1},
                                         .logit_rows = logit_rows},
                                        *kv_);
    EXPECT_TRUE(logits.ok()) << logits.status();
    position_ += rows;
    return {logits->begin(), logits->end()};
  }

  // The `count` likeliest tokens after `prompt`, one by one.
  std::vector<int32_t> Greedy(std::span<const int32_t> prompt, int bits,
                              int count) {
    std::vector<float> logits = Append(prompt, bits, Phase::kPrefill);
    std::vector<int32_t> tokens;
    for (int i = 0; i < count; ++i) {
      const auto last = std::span(logits).last(model_->config().vocab_size);
      tokens.push_back(static_cast<int32_t>(
          std::max_element(last.begin(), last.end()) - last.begin()));
      logits = Append({&tokens.back(), 1}, bits, Phase::kDecode);
    }
    return tokens;
  }

  const LlamaModel& model() const { return *model_; }

 private:
  const std::unique_ptr<Backend> backend_;
  std::unique_ptr<LlamaModel> model_;
  std::unique_ptr<KvStorage> kv_;
  std::vector<int32_t> blocks_;
  int position_ = 0;
};

absl::StatusOr<std::unique_ptr<Backend>> Fp32Cpu() {
  return CreateCpuBackend({.threads = 2, .mode = ComputeMode::kFloat32});
}

// "Once upon a time" and what follows, more or less.
const std::vector<int32_t> kPrompt = {1,   403, 407,  261, 378, 25, 700,
                                      314, 6,   1023, 90,  90,  17, 260,
                                      512, 33,  2,    801, 44,  5};

TEST(CudaLlamaTest, LogitsEqualTheCpusAtEveryPrecisionAndPhase) {
  ModelRun cuda(CreateCudaBackend({}), 64);
  ModelRun cpu(Fp32Cpu(), 64);
  const std::span<const int32_t> prompt = kPrompt;
  for (int bits = cpu.model().seed_bits(); bits <= cpu.model().max_bits();
       ++bits) {
    SCOPED_TRACE(absl::StrCat(bits, " bits"));
    cuda.Restart();
    cpu.Restart();
    // Decode rows first: the cache then holds what fp32 made on both sides.
    for (const int32_t token : prompt.first(3)) {
      EXPECT_LE(MaxError(cuda.Append({&token, 1}, bits, Phase::kDecode),
                         cpu.Append({&token, 1}, bits, Phase::kDecode)),
                kDecodeTolerance);
    }
    EXPECT_LE(MaxError(cuda.Append(prompt.subspan(3), bits, Phase::kPrefill),
                       cpu.Append(prompt.subspan(3), bits, Phase::kPrefill)),
              kPrefillTolerance);
  }
}

TEST(CudaLlamaTest, GreedyTokensEqualTheCpus) {
  constexpr int kTokens = 16;
  ModelRun cuda(CreateCudaBackend({}), 64);
  ModelRun cpu(Fp32Cpu(), 64);
  for (const int bits : {3, 8}) {
    cuda.Restart();
    cpu.Restart();
    EXPECT_EQ(cuda.Greedy(kPrompt, bits, kTokens),
              cpu.Greedy(kPrompt, bits, kTokens))
        << bits << " bits";
  }
}

}  // namespace
}  // namespace anyprec
