// What a model and its engine take of a CUDA device's memory: the emulated one.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulation/runtime.h"
#include "tests/runtime/engine/small_engine.h"

namespace anyprec {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::unique_ptr<Backend> DeviceOf(size_t bytes,
                                  const CudaBackendOptions& options = {}) {
  emulation::ResetDevice();
  emulation::SetDeviceMemory(bytes);
  auto backend = CreateCudaBackend(options);
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

constexpr size_t kAmple = size_t{1} << 30;

// With attention's scratch for all rows of a step at once, or for few.
class CudaScratchTest : public testing::TestWithParam<size_t> {};

INSTANTIATE_TEST_SUITE_P(
    AttentionScratch, CudaScratchTest,
    testing::Values(CudaBackendOptions().attention_scratch_bytes, 1));

TEST_P(CudaScratchTest, TheKvCacheLeavesRoomForTheLargestSteps) {
  const CudaBackendOptions device = {.attention_scratch_bytes = GetParam()};
  const EngineOptions options = {.max_sequences = 2,
                                 .prefill_chunk_tokens = 192,
                                 .gpu_memory_fraction = 1,
                                 .prefix_cache = false,
                                 .warm_up = absl::ZeroDuration()};
  const ModelConfig config = SmallConfig();
  const size_t block_bytes = size_t{2} * config.num_layers *
                             config.num_kv_heads * config.head_dim *
                             options.kv_block_tokens * 2;
  size_t ample_bytes = 0;
  int ample_blocks = 0;
  {
    const auto engine = MakeEngine(options, DeviceOf(kAmple, device));
    ample_bytes = emulation::DeviceBytesInUse();
    ample_blocks = engine->Stats().kv_blocks_total;
  }
  // Less than a block is left once the cache has what it can have.
  constexpr int kFewer = 8;
  const size_t tight = ample_bytes - kFewer * block_bytes + block_bytes / 2;
  const auto engine = MakeEngine(options, DeviceOf(tight, device));
  EXPECT_EQ(engine->Stats().kv_blocks_total, ample_blocks - kFewer);
  const int allocations = emulation::Calls("cudaMalloc");

  // A chunk at once, a context of two splits, drafts to verify.
  std::vector<std::unique_ptr<ResponseStream>> streams;
  for (int i = 0; i < options.max_sequences; ++i) {
    std::vector<TokenId> prompt(i == 0 ? 150 : 40, 1 + i);
    Request request = MakeRequest(std::move(prompt), 3);
    request.precision.fixed_bits = 8;
    request.speculation =
        SpeculationSpec{.draft_tokens = kMaxDraftTokens, .draft_bits = 3};
    request.prompt_logprobs = i == 1;
    streams.push_back(Submit(*engine, request));
  }
  for (const auto& stream : streams) {
    const Chunk answer = ReadAll(*stream);
    ASSERT_TRUE(answer.finish.has_value());
    EXPECT_TRUE(answer.finish->status.ok()) << answer.finish->status;
    EXPECT_EQ(answer.tokens.size(), 3u);
  }
  EXPECT_EQ(emulation::Calls("cudaMalloc"), allocations);
  // Nothing was left for graphs either, which small scratch has no use for.
  EXPECT_EQ(engine->Stats().steps_without_record > 0, GetParam() > 1);
}

TEST(CudaMemoryTest, AModelThatCannotFitIsRefusedBeforeAnyOfItIsLoaded) {
  SyntheticSource source(SmallConfig(), kMaxBits);
  size_t needed = 0;
  {
    const std::unique_ptr<Backend> backend = DeviceOf(kAmple);
    const auto model = LlamaLoader(source, {}, *backend).Load();
    ASSERT_TRUE(model.ok()) << model.status();
    needed = emulation::DeviceBytesInUse();
  }
  const std::unique_ptr<Backend> backend = DeviceOf(needed / 2);
  const absl::Status status = LlamaLoader(source, {}, *backend).Load().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("at up to 8 bits need at least"),
                    HasSubstr(absl::StrCat(needed / 2, " of ", needed / 2,
                                           " are free"))));
  EXPECT_EQ(emulation::DeviceBytesInUse(), 0u);
}

// What is needed at least must not be more than what is needed.
TEST(CudaMemoryTest, AModelThatJustFitsIsLoaded) {
  for (const int max_bits : {kMaxBits, 3, kUnquantizedBits}) {
    SyntheticSource source(SmallConfig(), max_bits);
    size_t needed = 0;
    {
      const std::unique_ptr<Backend> backend = DeviceOf(kAmple);
      const auto model = LlamaLoader(source, {}, *backend).Load();
      ASSERT_TRUE(model.ok()) << model.status();
      needed = emulation::DeviceBytesInUse();
    }
    // A row of centroids is there while a codebook is made.
    constexpr size_t kPassing = 1024;
    const std::unique_ptr<Backend> backend = DeviceOf(needed + kPassing);
    const absl::Status status =
        LlamaLoader(source, {}, *backend).Load().status();
    EXPECT_TRUE(status.ok()) << status;
  }
}

}  // namespace
}  // namespace anyprec
