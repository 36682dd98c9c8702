// The engine with a real model in it: small random planes, and the embedded
// checkpoint.
#include "runtime/engine/engine.h"

#include <atomic>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/runtime/engine/small_engine.h"

namespace anyprec {
namespace {

// Sixteen requests of six precisions, short and long prompts, greedy and not.
std::vector<Request> MixedRequests() {
  std::mt19937 random(1);
  std::vector<Request> requests;
  for (int i = 0; i < 16; ++i) {
    std::vector<TokenId> prompt;
    for (int n = 1 + (i * 11) % 50; n > 0; --n) {
      prompt.push_back(static_cast<TokenId>(random() % kVocab));
    }
    Request request = MakeRequest(std::move(prompt), 30);
    request.precision.fixed_bits = 3 + i % 6;
    request.sampling.temperature = i % 3 == 0 ? 0.0f : 1.0f;
    request.sampling.seed = static_cast<uint64_t>(i);
    request.prompt_logprobs = i % 4 == 0;
    request.top_logprobs = 0;
    requests.push_back(std::move(request));
  }
  return requests;
}

class EngineTest : public testing::TestWithParam<BackendKind> {};

TEST_P(EngineTest, ARequestsTokensDoNotDependOnBatchMates) {
  const std::vector<Request> requests = MixedRequests();
  // The block size may change the order in which attention adds up, and with it
  // the last bit: one size for both.
  constexpr int kBlockTokens = 4;
  std::vector<Chunk> alone;
  {
    const auto engine =
        MakeEngine({.kv_block_tokens = kBlockTokens}, GetParam());
    for (const Request& request : requests) {
      alone.push_back(ReadAll(*Submit(*engine, request)));
    }
    ASSERT_EQ(engine->Stats().preemptions, 0);
  }
  EngineOptions crowded;
  crowded.prefill_chunk_tokens = 7;
  // 26 blocks, an eighth of what they want together: some are preempted. A
  // token takes 2 layers * 2 heads * 16 * (k, v) * 2 bytes.
  crowded.kv_block_tokens = kBlockTokens;
  crowded.kv_cache_bytes = 26 * kBlockTokens * (2 * 2 * 16 * 2 * 2);
  const auto engine = MakeEngine(crowded, GetParam());
  std::vector<std::unique_ptr<ResponseStream>> streams;
  for (const Request& request : requests) {
    streams.push_back(Submit(*engine, request));
  }
  for (size_t i = 0; i < streams.size(); ++i) {
    const Chunk mixed = ReadAll(*streams[i]);
    EXPECT_EQ(TokensOf(mixed), TokensOf(alone[i])) << i;
    EXPECT_EQ(LogprobsOf(mixed), LogprobsOf(alone[i])) << i;
    EXPECT_EQ(mixed.prompt_logprobs, alone[i].prompt_logprobs) << i;
  }
  const EngineStats stats = engine->Stats();
  EXPECT_GT(stats.preemptions, 0);
  EXPECT_EQ(stats.kv_blocks_free, stats.kv_blocks_total);
}

TEST_P(EngineTest, ARequestsTokensDoNotDependOnThePrefixCache) {
  std::mt19937 random(1);
  std::vector<TokenId> prompt(30);
  for (TokenId& token : prompt) token = static_cast<TokenId>(random() % kVocab);
  std::vector<TokenId> other = prompt;
  other[25] = (other[25] + 1) % kVocab;
  struct Case {
    std::vector<TokenId> prompt;
    int bits;
    int cached;  // in blocks of 4 tokens, the last token never
  };
  const std::vector<Case> cases = {{prompt, 5, 0}, {prompt, 5, 28},
                                   {other, 5, 24}, {prompt, 6, 0},
                                   {other, 6, 24}, {prompt, 5, 28}};
  const auto remembers =
      MakeEngine({.prefill_chunk_tokens = 7, .kv_block_tokens = 4}, GetParam());
  const auto forgets =
      MakeEngine({.kv_block_tokens = 4, .prefix_cache = false}, GetParam());
  for (size_t i = 0; i < cases.size(); ++i) {
    Request request = MakeRequest(cases[i].prompt, 10);
    request.precision.fixed_bits = cases[i].bits;
    request.top_logprobs = 0;
    const Chunk a = ReadAll(*Submit(*remembers, request));
    const Chunk b = ReadAll(*Submit(*forgets, request));
    EXPECT_EQ(TokensOf(a), TokensOf(b)) << i;
    EXPECT_EQ(LogprobsOf(a), LogprobsOf(b)) << i;
    EXPECT_EQ(a.finish->stats.cached_prompt_tokens, cases[i].cached) << i;
    EXPECT_EQ(b.finish->stats.cached_prompt_tokens, 0) << i;
    EXPECT_EQ(a.finish->stats.prompt_tokens_by_bits[cases[i].bits], 30) << i;
    EXPECT_EQ(b.finish->stats.prompt_tokens_by_bits[cases[i].bits], 30) << i;
  }
  const EngineStats stats = remembers->Stats();
  EXPECT_EQ(stats.kv_blocks_free, stats.kv_blocks_total);
  EXPECT_EQ(stats.prefix_cache_queries, 6 * 30);
  EXPECT_EQ(stats.prefix_cache_hits, 28 + 24 + 24 + 28);
  // All but the hits.
  EXPECT_EQ(stats.prompt_tokens_by_bits[5], 30 + 2 + 6 + 2);
  EXPECT_EQ(stats.prompt_tokens_by_bits[6], 30 + 6);
}

TEST_P(EngineTest, EachPrecisionGivesItsOwnLogits) {
  const auto engine = MakeEngine({}, GetParam());
  std::vector<std::vector<float>> scores;
  for (int bits = 3; bits <= 8; ++bits) {
    Request request = MakeRequest({1, 2, 3, 4, 5, 6, 7, 8}, 0);
    request.prompt_logprobs = true;
    request.precision.fixed_bits = bits;
    scores.push_back(ReadAll(*Submit(*engine, request)).prompt_logprobs);
    ASSERT_EQ(scores.back().size(), 7u);
    for (size_t i = 0; i + 1 < scores.size(); ++i) {
      EXPECT_NE(scores[i], scores.back()) << bits;
    }
  }
}

TEST_P(EngineTest, MeetsADeadlineAutomatically) {
  const auto engine = MakeEngine({}, GetParam());
  EXPECT_EQ(engine->Stats().steps, 0) << "the sweep is no step of a request";
  Request request = MakeRequest({1, 2, 3}, 10);
  request.precision.min_bits = 4;
  request.deadline = absl::Now() + absl::Minutes(10);
  const Chunk all = ReadAll(*Submit(*engine, request));
  EXPECT_EQ(all.finish->reason, FinishReason::kLength);
  // Ten minutes are enough for the best.
  EXPECT_EQ(all.finish->stats.tokens_by_bits[8], 10);
}

// Phase, precision and rows of the groups of linear layers.
using GroupShapes = std::set<std::tuple<Phase, int, int>>;

struct BackendNotes {
  GroupShapes groups;
  std::atomic<size_t> floats_to_host = 0;
};

// The reference backend, noting what it is asked to multiply and to show to the
// host. `notes` must outlive it.
class NotingBackend : public Backend {
 public:
  explicit NotingBackend(BackendNotes& notes)
      : notes_(notes), inner_(CreateReferenceBackend()) {}

  absl::Status Linear(const LinearWeights& weights,
                      std::span<const RowGroup> groups, const float* x,
                      float* y, bool accumulate) override {
    for (const RowGroup& group : groups) {
      notes_.groups.insert(
          {group.phase, group.precision, group.end - group.begin});
    }
    return inner_->Linear(weights, groups, x, y, accumulate);
  }

  absl::string_view name() const override { return inner_->name(); }
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t floats) override {
    return inner_->Allocate(floats);
  }
  absl::Status CopyFromHost(std::span<const float> source,
                            float* destination) override {
    return inner_->CopyFromHost(source, destination);
  }
  absl::StatusOr<std::span<const float>> HostView(const float* data,
                                                  size_t floats) override {
    notes_.floats_to_host += floats;
    return inner_->HostView(data, floats);
  }
  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadBitPlanes(
      std::span<const QuantizedLinear> parts) override {
    return inner_->LoadBitPlanes(parts);
  }
  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      std::span<const DenseMatrix> parts) override {
    return inner_->LoadDense(parts);
  }
  absl::StatusOr<std::unique_ptr<KvStorage>> AllocateKv(const KvLayout& layout,
                                                        KvType type) override {
    return inner_->AllocateKv(layout, type);
  }
  absl::Status Embed(const LinearWeights& weights, std::span<const int32_t> ids,
                     float* y) override {
    return inner_->Embed(weights, ids, y);
  }
  absl::Status RmsNorm(const float* x, const float* weight, int rows, int n,
                       float epsilon, float* y) override {
    return inner_->RmsNorm(x, weight, rows, n, epsilon, y);
  }
  absl::Status RopeAndAppendKv(const AttentionShape& shape,
                               std::span<const SequenceRows> sequences,
                               const float* rope, int layer, KvStorage& kv,
                               float* qkv) override {
    return inner_->RopeAndAppendKv(shape, sequences, rope, layer, kv, qkv);
  }
  absl::Status Attention(const AttentionShape& shape,
                         std::span<const SequenceRows> sequences, int layer,
                         const KvStorage& kv, const float* qkv,
                         float* y) override {
    return inner_->Attention(shape, sequences, layer, kv, qkv, y);
  }
  absl::Status SiluMul(const float* gate_up, int rows, int n,
                       float* y) override {
    return inner_->SiluMul(gate_up, rows, n, y);
  }
  absl::Status GatherRows(const float* x, std::span<const int32_t> rows, int n,
                          float* y) override {
    return inner_->GatherRows(x, rows, n, y);
  }
  absl::Status Sample(const float* x, std::span<const TokenDraw> draws, int n,
                      std::span<int32_t> tokens) override {
    return inner_->Sample(x, draws, n, tokens);
  }

 private:
  BackendNotes& notes_;
  const std::unique_ptr<Backend> inner_;
};

TEST(EngineWarmUpTest, TheSweepRunsStepsOfEveryPrecision) {
  BackendNotes notes;
  const auto engine = MakeEngine({.warm_up = absl::InfiniteDuration()},
                                 std::make_unique<NotingBackend>(notes));
  for (int bits = 3; bits <= 8; ++bits) {
    EXPECT_TRUE(notes.groups.contains({Phase::kDecode, bits, 1})) << bits;
    EXPECT_TRUE(notes.groups.contains({Phase::kDecode, bits, 16})) << bits;
    EXPECT_TRUE(notes.groups.contains({Phase::kPrefill, bits, 128})) << bits;
  }
}

TEST(EngineSamplingTest, WhereTokensAreAllTheHostSeesNoLogits) {
  for (const SamplingParams& sampling :
       {SamplingParams{.temperature = 0, .seed = 1},
        SamplingParams{.temperature = 3, .seed = 2},
        SamplingParams{.top_k = 5, .seed = 3},
        SamplingParams{.top_p = 0.9f, .min_p = 0.001f, .seed = 4}}) {
    BackendNotes notes;
    const auto engine = MakeEngine({.warm_up = absl::ZeroDuration()},
                                   std::make_unique<NotingBackend>(notes));
    Request request = MakeRequest({1, 2, 3}, 12);
    request.sampling = sampling;
    const Chunk drawn = ReadAll(*Submit(*engine, request));
    EXPECT_EQ(notes.floats_to_host, 0u);
    // Probabilities take the logits; the tokens are the same.
    request.top_logprobs = 0;
    const Chunk sampled = ReadAll(*Submit(*engine, request));
    EXPECT_EQ(notes.floats_to_host, 12u * kVocab);
    EXPECT_EQ(TokensOf(drawn), TokensOf(sampled));
  }
}

TEST(EngineSamplingTest, AMixedStepShowsTheHostTheLogitsOfTheOthersOnly) {
  BackendNotes notes;
  const auto engine = MakeEngine({.warm_up = absl::ZeroDuration()},
                                 std::make_unique<NotingBackend>(notes));
  Request greedy = MakeRequest({1, 2, 3}, 40);
  greedy.sampling.temperature = 0;
  const Request drawing = MakeRequest({4, 5, 6, 7}, 25);
  Request reporting = drawing;
  reporting.top_logprobs = 1;
  reporting.stopping.max_tokens = 13;
  Request penalized = greedy;
  penalized.sampling.presence_penalty = 1;
  penalized.stopping.max_tokens = 9;
  const Request* const requests[] = {&greedy, &drawing, &reporting, &penalized};
  std::vector<std::vector<TokenId>> alone;
  for (const Request* request : requests) {
    alone.push_back(TokensOf(ReadAll(*Submit(*engine, *request))));
  }
  EXPECT_EQ(notes.floats_to_host, (13u + 9u) * kVocab);
  std::vector<std::unique_ptr<ResponseStream>> streams;
  for (const Request* request : requests) {
    streams.push_back(Submit(*engine, *request));
  }
  for (size_t i = 0; i < streams.size(); ++i) {
    EXPECT_EQ(TokensOf(ReadAll(*streams[i])), alone[i]) << i;
  }
  EXPECT_EQ(notes.floats_to_host, 2u * (13u + 9u) * kVocab);
}

TEST(EngineWarmUpTest, WithoutASweepTheFirstRequestsAreMeasured) {
  const auto engine =
      MakeEngine({.warm_up = absl::ZeroDuration()}, BackendKind::kReference);
  EXPECT_TRUE(engine->Stats().step_costs->Points().empty());
  Request request = MakeRequest({1, 2, 3}, 4);
  request.precision.slo.tpot = absl::Minutes(10);
  EXPECT_EQ(ReadAll(*Submit(*engine, request)).tokens.size(), 4u);
  EXPECT_FALSE(engine->Stats().step_costs->Points().empty());
}

INSTANTIATE_TEST_SUITE_P(Backends, EngineTest,
                         testing::Values(BackendKind::kReference,
                                         BackendKind::kCpuInt16,
                                         BackendKind::kCpuFloat32),
                         [](const auto& info) {
                           switch (info.param) {
                             case BackendKind::kReference:
                               return "Reference";
                             case BackendKind::kCpuInt16:
                               return "CpuInt16";
                             case BackendKind::kCpuFloat32:
                               return "CpuFloat32";
                           }
                           return "Unknown";
                         });

TEST(EngineOptionsTest, NamesTheOptionThatIsWrong) {
  const auto refused = [](const std::string& name,
                          const EngineOptions& options) {
    std::unique_ptr<Backend> backend = CreateReferenceBackend();
    SyntheticSource source(SmallConfig(), 3);
    const LoadOptions load;
    auto model = LlamaLoader(source, load, *backend).Load();
    ASSERT_TRUE(model.ok()) << model.status();
    const absl::Status status =
        Engine::Create(options, std::move(backend), *std::move(model), nullptr)
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message().substr(0, name.size()), name);
  };
  refused("max_sequences", {.max_sequences = 0});
  refused("max_queued_requests", {.max_queued_requests = -1});
  refused("prefill_chunk_tokens", {.prefill_chunk_tokens = 0});
  refused("max_context_tokens", {.max_context_tokens = 257});
  refused("kv_block_tokens", {.kv_block_tokens = 0});
  refused("kv_cache_bytes", {.kv_cache_bytes = 100});
  refused("gpu_memory_fraction", {.gpu_memory_fraction = 0});
  refused("gpu_memory_fraction", {.gpu_memory_fraction = 1.5});
  refused("policy: fixed:2", {.policy = *ParsePrecisionPolicy("fixed:2")});
}

TEST(EngineOptionsTest, TheContextIsLimitedToWhatTheKvCacheHolds) {
  std::unique_ptr<Backend> backend = CreateReferenceBackend();
  SyntheticSource source(SmallConfig(), 3);
  const LoadOptions load;
  auto model = LlamaLoader(source, load, *backend).Load();
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelConfig& config = (*model)->config();
  // Keys and values in fp16, and room for three blocks and a half.
  const size_t token_bytes =
      size_t{2} * config.num_layers * config.num_kv_heads * config.head_dim * 2;
  const auto engine = *Engine::Create(
      {.kv_block_tokens = 16, .kv_cache_bytes = 56 * token_bytes},
      std::move(backend), *std::move(model), nullptr);
  EXPECT_EQ(engine->max_context_tokens(), 48);
  EXPECT_EQ(ReadAll(*Submit(*engine, MakeRequest({1, 2}, 46))).tokens.size(),
            46u);
  EXPECT_EQ(engine->Submit(MakeRequest({1, 2}, 47)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// The reference backend, saying that it lives on a device whose memory is taken
// but for `free_bytes`.
class SmallDevice final : public NotingBackend {
 public:
  SmallDevice(BackendNotes& notes, DeviceMemoryInfo info)
      : NotingBackend(notes), info_(info) {}
  absl::StatusOr<std::optional<DeviceMemoryInfo>> GetDeviceMemoryInfo()
      override {
    return info_;
  }

 private:
  const DeviceMemoryInfo info_;
};

absl::StatusOr<std::unique_ptr<Engine>> EngineOnDevice(
    BackendNotes& notes, const DeviceMemoryInfo& info,
    const EngineOptions& options) {
  std::unique_ptr<Backend> backend = std::make_unique<SmallDevice>(notes, info);
  SyntheticSource source(SmallConfig(), 3);
  const LoadOptions load;
  auto model = LlamaLoader(source, load, *backend).Load();
  EXPECT_TRUE(model.ok()) << model.status();
  return Engine::Create(options, std::move(backend), *std::move(model),
                        nullptr);
}

TEST(EngineOptionsTest, OnADeviceTheKvCacheTakesWhatItsShareLeaves) {
  BackendNotes notes;
  const ModelConfig config = SmallConfig();
  const size_t block_bytes = size_t{2} * config.num_layers *
                             config.num_kv_heads * config.head_dim * 16 * 2;
  // Of 100 blocks' memory half may be taken, 38 are in use, 12 are left.
  const DeviceMemoryInfo info = {.total_bytes = 100 * block_bytes,
                                 .free_bytes = 62 * block_bytes};
  const EngineOptions options = {.gpu_memory_fraction = 0.5,
                                 .warm_up = absl::ZeroDuration()};
  const auto engine = EngineOnDevice(notes, info, options);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ((*engine)->Stats().kv_blocks_total, 12);

  EngineOptions in_bytes = options;
  in_bytes.kv_cache_bytes = 20 * block_bytes;
  const auto given = EngineOnDevice(notes, info, in_bytes);
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_EQ((*given)->Stats().kv_blocks_total, 20);
}

TEST(EngineOptionsTest, ADeviceWithoutRoomForTheKvCacheIsRefused) {
  BackendNotes notes;
  const absl::Status status =
      EngineOnDevice(notes, {.total_bytes = 1000000, .free_bytes = 100000},
                     {.gpu_memory_fraction = 0.9})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(),
            "gpu_memory_fraction: 0.9 of 1000000 bytes leaves nothing for the "
            "KV cache; 900000 are in use");
}

TEST(EngineCheckpointTest, ServesAnUnquantizedModelAtSixteenBits) {
  std::unique_ptr<Backend> backend = MakeBackend(BackendKind::kCpuFloat32);
  auto model =
      LlamaModel::LoadCheckpoint("tests/testdata/tiny-llama", {}, *backend);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto engine =
      *Engine::Create({}, std::move(backend), *std::move(model), nullptr);
  Request request = MakeRequest({1, 5, 6, 7}, 12);
  request.sampling.temperature = 0;
  const Chunk first = ReadAll(*Submit(*engine, request));
  EXPECT_EQ(first.finish->stats.tokens_by_bits[kUnquantizedBits], 12);
  EXPECT_EQ(TokensOf(first), TokensOf(ReadAll(*Submit(*engine, request))));
  request.precision.fixed_bits = 8;
  EXPECT_EQ(engine->Submit(request).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace anyprec
