// Decode steps as CUDA graphs, on the emulated device: the same bits as launch
// by launch, one graph for all mixes of rows and precisions, and no graph that
// outlives what it was recorded from.
#include "kernels/cuda/step_graphs.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulation/runtime.h"
#include "kernels/status_macros.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

using testing::HasSubstr;

constexpr AttentionShape kShape = {.heads = 4, .kv_heads = 2, .head_dim = 16};
constexpr int kHidden = 64;
constexpr int kInner = 96;
constexpr int kVocab = 50;
constexpr int kLayers = 2;
constexpr int kQkv = (4 + 2 * 2) * 16;
constexpr int kMinPrecision = 3;
constexpr int kSequences = 12;
constexpr int kBlockTokens = 16;
constexpr int kBlocksPerSequence = 20;
constexpr int kPositions = kBlockTokens * kBlocksPerSequence;

// What a sequence brings to a step.
struct Entry {
  int sequence = 0;
  int bits = 8;
  int rows = 1;
  Phase phase = Phase::kDecode;
};

// Two layers of a decoder on random weights, always the same ones; attention's
// have codebooks, the others scales.
class Decoder {
 public:
  explicit Decoder(const CudaBackendOptions& options)
      : backend_(*CreateCudaBackend(options)), positions_(kSequences) {
    embedding_ = LoadDense(kVocab, kHidden, 1);
    for (int i = 0; i < kLayers; ++i) {
      qkv_.push_back(LoadBitPlanes(kQkv, kHidden, 10 * i + 2, 0));
      out_.push_back(LoadBitPlanes(kHidden, kHidden, 10 * i + 3, 0));
      gate_up_.push_back(LoadBitPlanes(2 * kInner, kHidden, 10 * i + 4, 64));
      down_.push_back(LoadBitPlanes(kHidden, kInner, 10 * i + 5, 64));
    }
    norm_ = Upload(*backend_, RandomFloats(kHidden, 6));
    rope_ = Upload(*backend_, RandomFloats(kPositions * kShape.head_dim, 7));
    AllocateKv();
    AllocateActivations(512);
    // Every sequence's blocks lie between the others', in no order.
    std::vector<int32_t> blocks(kSequences * kBlocksPerSequence);
    for (size_t i = 0; i < blocks.size(); ++i) {
      blocks[i] = static_cast<int32_t>(i);
    }
    std::shuffle(blocks.begin(), blocks.end(), std::mt19937(8));
    for (int s = 0; s < kSequences; ++s) {
      const auto first = blocks.begin() + s * kBlocksPerSequence;
      blocks_.emplace_back(first, first + kBlocksPerSequence);
    }
  }

  // Appends rows to their sequences; leaves the residual stream in residual().
  absl::Status TryStep(const std::vector<Entry>& entries) {
    std::vector<int32_t> tokens;
    std::vector<SequenceRows> sequences;
    std::vector<RowGroup> groups;
    for (const Entry& entry : entries) {
      const int first = static_cast<int>(tokens.size());
      const int position = positions_[entry.sequence];
      for (int i = 0; i < entry.rows; ++i) {
        tokens.push_back((7 * entry.sequence + 3 * (position + i)) % kVocab);
      }
      sequences.push_back(
          {first, entry.rows, position, blocks_[entry.sequence]});
      groups.push_back({first, first + entry.rows, entry.bits, entry.phase});
    }
    rows_ = static_cast<int>(tokens.size());
    const absl::Status status = backend_->RunStep(
        {.tokens = tokens,
         .sequences = sequences,
         .groups = groups,
         .shape = kShape,
         .kv = kv_.get()},
        [&] { return Operations(tokens, sequences, groups); });
    if (!status.ok()) return status;
    for (const Entry& entry : entries) {
      positions_[entry.sequence] += entry.rows;
    }
    return status;
  }

  std::vector<float> Step(const std::vector<Entry>& entries) {
    const absl::Status status = TryStep(entries);
    EXPECT_TRUE(status.ok()) << status;
    return Download(*backend_, residual_->data(), rows_ * kHidden);
  }

  // Somewhere else, as the old ones are freed afterwards.
  void AllocateActivations(int rows) {
    for (auto* const buffer : {&residual_, &normed_, &attention_}) {
      *buffer = *backend_->Allocate(rows * kHidden);
    }
    qkv_rows_ = *backend_->Allocate(rows * kQkv);
    gate_up_rows_ = *backend_->Allocate(rows * 2 * kInner);
    activated_ = *backend_->Allocate(rows * kInner);
  }

  // An empty one.
  void AllocateKv() {
    kv_ = *backend_->AllocateKv({.layers = kLayers,
                                 .kv_heads = kShape.kv_heads,
                                 .head_dim = kShape.head_dim,
                                 .block_tokens = kBlockTokens,
                                 .num_blocks = kSequences * kBlocksPerSequence},
                                KvType::kFloat16);
    positions_.assign(kSequences, 0);
  }

  // Another layer in the place of the first one's last.
  void ReplaceLayer() { down_[0] = LoadBitPlanes(kHidden, kInner, 99, 64); }

  Backend& backend() { return *backend_; }
  const KvStorage& kv() const { return *kv_; }
  // Called by each step after its other operations.
  std::function<absl::Status()> last_operation;

 private:
  std::unique_ptr<LinearWeights> LoadDense(int n, int k, uint32_t seed) {
    const RandomDense layer(DenseMatrix::Type::kFloat16, n, k, seed);
    const DenseMatrix view = layer.view();
    return *backend_->LoadDense({&view, 1});
  }

  std::unique_ptr<LinearWeights> LoadBitPlanes(int n, int k, uint32_t seed,
                                               int group_size) {
    const RandomQuantizedLinear layer(n, k, kMinPrecision, kMaxBits, seed,
                                      group_size);
    const QuantizedLinear view = layer.view();
    return *backend_->LoadBitPlanes({&view, 1});
  }

  absl::Status Operations(const std::vector<int32_t>& tokens,
                          const std::vector<SequenceRows>& sequences,
                          const std::vector<RowGroup>& groups) {
    RETURN_IF_ERROR(backend_->Embed(*embedding_, tokens, residual_->data()));
    for (int i = 0; i < kLayers; ++i) {
      RETURN_IF_ERROR(Norm());
      RETURN_IF_ERROR(backend_->Linear(*qkv_[i], groups, normed_->data(),
                                       qkv_rows_->data(), false));
      RETURN_IF_ERROR(backend_->RopeAndAppendKv(
          kShape, sequences, rope_->data(), i, *kv_, qkv_rows_->data()));
      RETURN_IF_ERROR(backend_->Attention(
          kShape, sequences, i, *kv_, qkv_rows_->data(), attention_->data()));
      RETURN_IF_ERROR(backend_->Linear(*out_[i], groups, attention_->data(),
                                       residual_->data(), true));
      RETURN_IF_ERROR(Norm());
      RETURN_IF_ERROR(backend_->Linear(*gate_up_[i], groups, normed_->data(),
                                       gate_up_rows_->data(), false));
      RETURN_IF_ERROR(backend_->SiluMul(gate_up_rows_->data(), rows_, kInner,
                                        activated_->data()));
      RETURN_IF_ERROR(backend_->Linear(*down_[i], groups, activated_->data(),
                                       residual_->data(), true));
    }
    return last_operation == nullptr ? absl::OkStatus() : last_operation();
  }

  absl::Status Norm() {
    return backend_->RmsNorm(residual_->data(), norm_->data(), rows_, kHidden,
                             1e-5f, normed_->data());
  }

  const std::unique_ptr<Backend> backend_;
  std::unique_ptr<LinearWeights> embedding_;
  std::vector<std::unique_ptr<LinearWeights>> qkv_, out_, gate_up_, down_;
  std::unique_ptr<Buffer> norm_, rope_;
  std::unique_ptr<Buffer> residual_, normed_, attention_, qkv_rows_,
      gate_up_rows_, activated_;
  std::unique_ptr<KvStorage> kv_;
  std::vector<std::vector<int32_t>> blocks_;  // by sequence
  std::vector<int> positions_;                // by sequence
  int rows_ = 0;                              // of the newest step
};

int Graphs() { return emulation::Calls("cudaGraphInstantiate"); }
int GraphLaunches() { return emulation::Calls("cudaGraphLaunch"); }

class StepGraphsTest : public testing::Test {
 protected:
  StepGraphsTest() { emulation::ResetDevice(); }
  ~StepGraphsTest() override {
    emulation::ResetDevice();
    emulation::SetSeed(1);
  }
};

std::vector<Entry> Prompts() {
  // One that decodes across a split's border, one of three splits.
  return {{0, 5, kAttentionSplitTokens - 2, Phase::kPrefill},
          {1, 3, 3, Phase::kPrefill},
          {2, 8, 20, Phase::kPrefill},
          {3, 4, 2 * kAttentionSplitTokens + 1, Phase::kPrefill}};
}

// Batches that grow and shrink, of rows that change their precision from step
// to step, some of them several of one sequence.
std::vector<std::vector<Entry>> DecodeSteps() {
  std::mt19937 random(5);
  std::vector<std::vector<Entry>> steps;
  for (const int size : {1, 1, 2, 3, 4, 4, 7, 11, 12, 9, 5, 2, 2, 1, 8, 3}) {
    std::vector<int> sequences(kSequences);
    for (int i = 0; i < kSequences; ++i) sequences[i] = i;
    std::shuffle(sequences.begin(), sequences.end(), random);
    const int lowest = steps.size() % 3 == 0 ? 8 : kMinPrecision;
    std::vector<Entry>& step = steps.emplace_back();
    for (int i = 0; i < size; ++i) {
      const int bits = lowest + static_cast<int>(random() % (9 - lowest));
      step.push_back({sequences[i], bits, random() % 4 == 0 ? 3 : 1});
    }
  }
  return steps;
}

TEST_F(StepGraphsTest, EveryStepHasTheBitsThatItHasLaunchByLaunch) {
  std::vector<std::vector<float>> want;
  {
    Decoder decoder({.graphs = false});
    decoder.Step(Prompts());
    for (const auto& step : DecodeSteps()) want.push_back(decoder.Step(step));
    EXPECT_EQ(Graphs(), 0);
  }
  emulation::ResetDevice();
  emulation::SetSeed(2);  // another order of threads, and of late copies
  Decoder decoder({});
  decoder.Step(Prompts());
  const auto steps = DecodeSteps();
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_TRUE(SameBits(decoder.Step(steps[i]), want[i])) << "step " << i;
  }
  EXPECT_EQ(GraphLaunches(), static_cast<int>(steps.size()));
  EXPECT_LT(Graphs(), static_cast<int>(steps.size()));
}

TEST_F(StepGraphsTest, OneGraphServesEveryMixOfAsManyRowsAndItsHighestBits) {
  Decoder decoder({});
  decoder.Step({{4, 3, 64, Phase::kPrefill}});  // makes room for scratch
  decoder.Step({{0, 8}, {1, 3}, {2, 3}});
  EXPECT_EQ(Graphs(), 1);
  const int launches = emulation::Calls("cudaLaunchKernelExC");
  const int copies = emulation::Calls("cudaMemcpyAsync");
  ASSERT_TRUE(decoder.TryStep({{3, 3}, {1, 8}, {0, 5}}).ok());
  ASSERT_TRUE(decoder.TryStep({{5, 8}, {6, 8}, {7, 4}, {8, 3}}).ok());
  ASSERT_TRUE(decoder.TryStep({{2, 8, /*rows=*/4}}).ok());
  EXPECT_EQ(Graphs(), 1);
  EXPECT_EQ(GraphLaunches(), 4);
  // A step is one copy and the graph.
  EXPECT_EQ(emulation::Calls("cudaLaunchKernelExC"), launches);
  EXPECT_EQ(emulation::Calls("cudaMemcpyAsync"), copies + 3);

  // Kernels are compiled for up to 4, 6 and 8 bits.
  decoder.Step({{0, 7}, {1, 3}, {2, 3}});
  EXPECT_EQ(Graphs(), 1);
  decoder.Step({{0, 6}, {1, 3}, {2, 3}});
  EXPECT_EQ(Graphs(), 2);
  decoder.Step({{0, 5}, {1, 6}, {2, 3}});
  EXPECT_EQ(Graphs(), 2);
  decoder.Step({{0, 8}, {1, 3}});  // fewer rows
  EXPECT_EQ(Graphs(), 3);
}

TEST_F(StepGraphsTest, StepsOfOtherRowsAreLaunchedOneByOne) {
  Decoder decoder({});
  decoder.Step({{0, 4, 5, Phase::kPrefill}});
  decoder.Step({{0, 4}, {1, 4, 5, Phase::kPrefill}});
  decoder.Step({{2, 3, kMaxTableRows + 1}});
  EXPECT_EQ(Graphs(), 0);
  decoder.Step({{3, 3, kMaxTableRows}});
  EXPECT_EQ(Graphs(), 1);
}

TEST_F(StepGraphsTest, StepsThatNeedTooMuchScratchAreLaunchedOneByOne) {
  // Of two slots.
  const size_t bytes =
      2 * sizeof(float) * AttentionSlotFloats(kShape.heads, kShape.head_dim);
  Decoder decoder({.attention_scratch_bytes = bytes});
  decoder.Step({{0, 4, kAttentionSplitTokens - 1, Phase::kPrefill}});
  decoder.Step({{0, 4}, {1, 4}});
  EXPECT_EQ(Graphs(), 1);
  decoder.Step({{0, 4}, {1, 4}});  // of three
  EXPECT_EQ(GraphLaunches(), 1);
  decoder.Step({{1, 4}, {2, 4}});
  EXPECT_EQ(GraphLaunches(), 2);
}

// Steps of two rows, `change` being made after the first ones: with and without
// graphs the same, by `graphs` graphs.
void ExpectFollows(const std::function<void(Decoder&)>& change, int graphs) {
  const std::vector<Entry> step = {{0, 4}, {1, 6}};
  std::vector<std::vector<float>> rows[2];
  for (const bool with_graphs : {false, true}) {
    emulation::ResetDevice();
    Decoder decoder({.graphs = with_graphs});
    for (int i = 0; i < 6; ++i) {
      if (i == 3) change(decoder);
      rows[with_graphs ? 1 : 0].push_back(decoder.Step(step));
    }
  }
  for (size_t i = 0; i < rows[0].size(); ++i) {
    EXPECT_TRUE(SameBits(rows[1][i], rows[0][i])) << "step " << i;
  }
  EXPECT_EQ(Graphs(), graphs);
}

TEST_F(StepGraphsTest, AGraphIsRecordedAnewWhereActivationsHaveMoved) {
  ExpectFollows([](Decoder& decoder) { decoder.AllocateActivations(300); }, 2);
}

TEST_F(StepGraphsTest, AGraphIsRecordedAnewWhereTheCacheIsAnother) {
  ExpectFollows([](Decoder& decoder) { decoder.AllocateKv(); }, 2);
}

TEST_F(StepGraphsTest, AGraphIsRecordedAnewWhereALayerIsAnother) {
  ExpectFollows([](Decoder& decoder) { decoder.ReplaceLayer(); }, 2);
}

// By a step that needs more of it.
TEST_F(StepGraphsTest, AGraphIsRecordedAnewWhereScratchHasMoved) {
  ExpectFollows(
      [](Decoder& decoder) {
        std::vector<Entry> step;
        for (int i = 2; i < kSequences; ++i) step.push_back({i, 3, 3});
        ASSERT_TRUE(decoder.TryStep(step).ok());
      },
      3);
}

TEST_F(StepGraphsTest, AGraphIsRecordedAnewWhereMoreOperationsAreCalled) {
  ExpectFollows(
      [](Decoder& decoder) {
        const std::shared_ptr<Buffer> more =
            Upload(decoder.backend(), RandomFloats(kHidden, 3));
        decoder.last_operation = [&decoder, more] {
          return decoder.backend().SiluMul(more->data(), 2, 8, more->data());
        };
      },
      2);
}

// ---- What goes wrong. ----

TEST_F(StepGraphsTest, AGraphThatCannotBeRecordedIsSaidToBe) {
  Decoder decoder({});
  emulation::FailCall("cudaStreamEndCapture", 1,
                      cudaErrorStreamCaptureInvalidated);
  const absl::Status lost = decoder.TryStep({{0, 5}, {1, 3}, {2, 3}});
  EXPECT_EQ(lost.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(lost.message()),
              HasSubstr("recording a step of up to 4 decode rows at up to 6 "
                        "bits: operation failed due to a previous error"));
  EXPECT_EQ(decoder.TryStep({{0, 5}}), lost);
}

// Making it, or launching it the first time, takes memory.
TEST_F(StepGraphsTest, StepsWithoutMemoryForTheirGraphAreLaunchedOneByOne) {
  for (const std::string function :
       {"cudaGraphInstantiate", "cudaGraphLaunch"}) {
    emulation::ResetDevice();
    Decoder decoder({});
    Decoder other({.graphs = false});
    emulation::FailCall(function, 1, cudaErrorMemoryAllocation);
    EXPECT_TRUE(SameBits(decoder.Step({{0, 5}}), other.Step({{0, 5}})));
    EXPECT_EQ(decoder.backend().StepsWithoutRecord(), 1);
    const int graphs = Graphs();
    EXPECT_TRUE(SameBits(decoder.Step({{0, 5}}), other.Step({{0, 5}})));
    EXPECT_EQ(decoder.backend().StepsWithoutRecord(), 2);
    EXPECT_EQ(Graphs(), graphs) << "tried again";
    // Others have graphs all the same.
    EXPECT_TRUE(SameBits(decoder.Step({{0, 7}}), other.Step({{0, 7}})));
    EXPECT_EQ(decoder.backend().StepsWithoutRecord(), 2);
    EXPECT_EQ(Graphs(), graphs + 1);
  }
}

// A driver may want memory for a kernel that it has not loaded yet, and break
// off the recording for want of it.
TEST_F(StepGraphsTest, AStepWithoutMemoryWhileItIsRecordedIsLaunchedPlainly) {
  Decoder decoder({});
  Decoder other({.graphs = false});
  emulation::FailCall("cudaLaunchKernelExC", 3, cudaErrorMemoryAllocation);
  const auto got = decoder.Step({{0, 5}});
  EXPECT_TRUE(SameBits(got, other.Step({{0, 5}})));
  EXPECT_EQ(decoder.backend().StepsWithoutRecord(), 1);
  EXPECT_TRUE(SameBits(decoder.Step({{0, 5}}), other.Step({{0, 5}})));
}

TEST_F(StepGraphsTest, AGraphGivesItsMemoryBack) {
  Decoder decoder({});
  decoder.Step({{0, 5}});
  const size_t with_graph = emulation::DeviceBytesInUse();
  decoder.ReplaceLayer();
  decoder.Step({{0, 5}});  // recorded anew
  EXPECT_EQ(Graphs(), 2);
  EXPECT_EQ(emulation::DeviceBytesInUse(), with_graph);
}

TEST_F(StepGraphsTest, ALaunchThatFailsWhileItIsRecordedEndsTheRecording) {
  Decoder decoder({});
  emulation::FailCall("cudaLaunchKernelExC", 3, cudaErrorInvalidValue);
  const absl::Status lost = decoder.TryStep({{0, 5}});
  EXPECT_THAT(std::string(lost.message()), HasSubstr("invalid argument"));
  EXPECT_EQ(emulation::Calls("cudaStreamEndCapture"), 1);
}

using StepGraphsDeathTest = StepGraphsTest;

TEST_F(StepGraphsDeathTest, OperationsOnOtherRowsThanTheStepsAreRefused) {
  Decoder decoder({});
  const auto x = Upload(decoder.backend(), RandomFloats(64, 1));
  decoder.last_operation = [&] {
    return decoder.backend().SiluMul(x->data(), 1, 8, x->data());
  };
  EXPECT_DEATH((void)decoder.TryStep({{0, 5}, {1, 5}}), "1 rows of 2");
  const std::vector<SequenceRows> none;
  decoder.last_operation = [&] {
    return decoder.backend().Attention(kShape, none, 0, decoder.kv(), x->data(),
                                       x->data());
  };
  EXPECT_DEATH((void)decoder.TryStep({{0, 5}}), "other rows than its step's");
}

TEST_F(StepGraphsDeathTest, ReadingResultsWithinAStepIsRefused) {
  Decoder decoder({});
  const auto x = Upload(decoder.backend(), RandomFloats(64, 1));
  decoder.last_operation = [&] {
    return decoder.backend().HostView(x->data(), 1).status();
  };
  EXPECT_DEATH((void)decoder.TryStep({{0, 5}}), "not an operation of a step");
}

}  // namespace
}  // namespace anyprec
