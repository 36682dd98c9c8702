#include "tests/conformance/model_conformance.h"

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
#include "quantize/pipeline.h"
#include "quantize/sensitivity.h"
#include "runtime/format/checkpoint.h"
#include "runtime/model/llama_model.h"
#include "tests/conformance/backend_test_data.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

constexpr int kBlockTokens = 16;
constexpr int kBlocksPerSequence = 4;
constexpr int kSequences = 3;

// Decode rows are computed in fp32 on both sides: logits reach 20, where an ulp
// is 2e-6, and 5 layers add some tens of them.
constexpr double kDecodeTolerance = 1e-4;
// Prefill rows have their activations rounded to fp16 in each linear layer: at
// most 2^-11 of such logits, and as much again for the layers before.
constexpr double kPrefillTolerance = 2e-2;

// The embedded model quantized to 3 to 8 bits, once for all tests.
const std::string& ParentFolder(const std::string& checkpoint_folder) {
  static const ScratchFolder& scratch = *new ScratchFolder;
  static const std::string folder = [&checkpoint_folder] {
    const std::string output = scratch.File("parent");
    const auto checkpoint = Checkpoint::Open(checkpoint_folder);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    if (!checkpoint.ok()) return output;
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

// What one sequence brings to a step.
struct Rows {
  int sequence = 0;
  std::span<const int32_t> tokens;
  int bits = 0;
  Phase phase = Phase::kDecode;
};

// The model in a backend's memory, and up to kSequences sequences.
class ModelRun {
 public:
  ModelRun(absl::StatusOr<std::unique_ptr<Backend>> backend,
           const std::string& checkpoint)
      : backend_(*std::move(backend)), blocks_(kSequences) {
    auto model =
        LlamaModel::LoadParent(ParentFolder(checkpoint), {}, *backend_);
    EXPECT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    // Descending, and every sequence's blocks between the others': a block
    // table is neither in order nor without holes.
    for (int s = 0; s < kSequences; ++s) {
      for (int b = kBlocksPerSequence - 1; b >= 0; --b) {
        blocks_[s].push_back(b * kSequences + s);
      }
    }
    Restart();
  }

  // Forgets the sequences.
  void Restart() {
    auto kv = backend_->AllocateKv(
        model_->KvLayoutFor(kBlockTokens, kSequences * kBlocksPerSequence),
        KvType::kFloat32);
    EXPECT_TRUE(kv.ok()) << kv.status();
    kv_ = *std::move(kv);
    positions_.assign(kSequences, 0);
  }

  // Logits of all of the rows, appended to what came before in their
  // sequences, by sequence of `step`.
  std::vector<std::vector<float>> Step(const std::vector<Rows>& step) {
    std::vector<int32_t> tokens;
    std::vector<SequenceRows> sequences;
    std::vector<RowGroup> groups;
    for (const Rows& rows : step) {
      const int first = static_cast<int>(tokens.size());
      const int count = static_cast<int>(rows.tokens.size());
      tokens.insert(tokens.end(), rows.tokens.begin(), rows.tokens.end());
      sequences.push_back(
          {first, count, positions_[rows.sequence], blocks_[rows.sequence]});
      groups.push_back({first, first + count, rows.bits, rows.phase});
      positions_[rows.sequence] += count;
    }
    std::vector<int32_t> logit_rows(tokens.size());
    std::iota(logit_rows.begin(), logit_rows.end(), 0);
    const auto output = model_->Forward({.tokens = tokens,
                                         .sequences = sequences,
                                         .groups = groups,
                                         .logit_rows = logit_rows},
                                        *kv_);
    EXPECT_TRUE(output.ok()) << output.status();
    std::vector<std::vector<float>> by_sequence;
    const size_t vocab = model_->config().vocab_size;
    for (const SequenceRows& rows : sequences) {
      const auto part =
          output->logits.subspan(rows.first_row * vocab, rows.rows * vocab);
      by_sequence.emplace_back(part.begin(), part.end());
    }
    return by_sequence;
  }

  std::vector<float> Append(std::span<const int32_t> tokens, int bits,
                            Phase phase) {
    return Step({{0, tokens, bits, phase}})[0];
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
  std::vector<std::vector<int32_t>> blocks_;  // by sequence
  std::vector<int> positions_;                // by sequence
};

absl::StatusOr<std::unique_ptr<Backend>> Fp32Cpu() {
  return CreateCpuBackend({.threads = 2, .mode = ComputeMode::kFloat32});
}

// "Once upon a time" and what follows, more or less.
const std::vector<int32_t> kPrompt = {1,   403, 407,  261, 378, 25, 700,
                                      314, 6,   1023, 90,  90,  17, 260,
                                      512, 33,  2,    801, 44,  5};

TEST_P(ModelConformanceTest, LogitsEqualTheCpusAtEveryPrecisionAndPhase) {
  ModelRun device(GetParam().create(), GetParam().checkpoint());
  ModelRun cpu(Fp32Cpu(), GetParam().checkpoint());
  const std::span<const int32_t> prompt = kPrompt;
  for (int bits = cpu.model().seed_bits(); bits <= cpu.model().max_bits();
       ++bits) {
    SCOPED_TRACE(absl::StrCat(bits, " bits"));
    device.Restart();
    cpu.Restart();
    // Decode rows first: the cache then holds what fp32 made on both sides.
    for (const int32_t token : prompt.first(3)) {
      EXPECT_LE(MaxError(device.Append({&token, 1}, bits, Phase::kDecode),
                         cpu.Append({&token, 1}, bits, Phase::kDecode)),
                kDecodeTolerance);
    }
    EXPECT_LE(MaxError(device.Append(prompt.subspan(3), bits, Phase::kPrefill),
                       cpu.Append(prompt.subspan(3), bits, Phase::kPrefill)),
              kPrefillTolerance);
  }
}

TEST_P(ModelConformanceTest, GreedyTokensEqualTheCpus) {
  constexpr int kTokens = 16;
  ModelRun device(GetParam().create(), GetParam().checkpoint());
  ModelRun cpu(Fp32Cpu(), GetParam().checkpoint());
  for (const int bits : {3, 8}) {
    device.Restart();
    cpu.Restart();
    EXPECT_EQ(device.Greedy(kPrompt, bits, kTokens),
              cpu.Greedy(kPrompt, bits, kTokens))
        << bits << " bits";
  }
}

// The same rows alone, beside others of other precisions and phases, and again.
TEST_P(ModelConformanceTest, LogitsAreTheSameBitsWhateverTheBatch) {
  const std::span<const int32_t> prompt = kPrompt;
  const auto long_prompt = prompt.first(18);  // crosses into a second block
  const auto token = prompt.subspan(18, 1);
  const std::vector<Rows> prompts = {{2, prompt.first(1), 8, Phase::kDecode},
                                     {0, long_prompt, 4, Phase::kPrefill},
                                     {1, prompt.first(5), 3, Phase::kPrefill}};
  const std::vector<Rows> decodes = {{0, token, 4, Phase::kDecode},
                                     {1, token, 3, Phase::kDecode},
                                     {2, prompt.first(7), 8, Phase::kPrefill}};

  ModelRun device(GetParam().create(), GetParam().checkpoint());
  std::vector<std::vector<float>> alone;
  for (const auto& step : {prompts, decodes}) {
    for (const Rows& rows : step) alone.push_back(device.Step({rows})[0]);
  }
  for (int round = 0; round < 2; ++round) {
    device.Restart();
    std::vector<std::vector<float>> together = device.Step(prompts);
    for (auto& logits : device.Step(decodes)) {
      together.push_back(std::move(logits));
    }
    ASSERT_EQ(together.size(), alone.size());
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_TRUE(SameBits(together[i], alone[i]))
          << "round " << round << ", rows " << i;
    }
  }
}

// Batches that grow and shrink, of sequences of different lengths whose
// precisions change from step to step: records of steps serve them all.
TEST_P(ModelConformanceTest, RecordedStepsHaveTheBitsOfOthers) {
  if (GetParam().create_unrecorded == nullptr) {
    GTEST_SKIP() << "no step is recorded";
  }
  const std::span<const int32_t> prompt = kPrompt;
  std::vector<std::vector<Rows>> steps = {
      {{0, prompt.first(15), 4, Phase::kPrefill}}};
  const std::vector<std::vector<std::pair<int, int>>> batches = {
      {{0, 8}},         {{0, 3}, {1, 8}}, {{2, 8}, {0, 3}, {1, 5}},
      {{1, 8}, {2, 3}}, {{0, 8}},         {{1, 3}, {0, 6}, {2, 8}}};
  for (const auto& batch : batches) {
    std::vector<Rows>& step = steps.emplace_back();
    for (const auto& [sequence, bits] : batch) {
      const size_t tokens = 1 + steps.size() % 2;
      step.push_back({sequence, prompt.subspan(steps.size(), tokens), bits});
    }
  }
  ModelRun recorded(GetParam().create(), GetParam().checkpoint());
  ModelRun unrecorded(GetParam().create_unrecorded(), GetParam().checkpoint());
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto own = recorded.Step(steps[i]);
    const auto want = unrecorded.Step(steps[i]);
    ASSERT_EQ(own.size(), want.size());
    for (size_t s = 0; s < own.size(); ++s) {
      EXPECT_TRUE(SameBits(own[s], want[s])) << "step " << i << ", rows " << s;
    }
  }
}

}  // namespace
}  // namespace anyprec
