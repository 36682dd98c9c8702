// Speculative decoding through the whole engine.
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/runtime/engine/small_engine.h"

namespace anyprec {
namespace {

constexpr int kPrompts = 200;

Request GreedyRequest(std::mt19937& random, int max_tokens) {
  std::vector<TokenId> prompt;
  for (int n = 1 + static_cast<int>(random() % 40); n > 0; --n) {
    prompt.push_back(static_cast<TokenId>(random() % kVocab));
  }
  Request request = MakeRequest(std::move(prompt), max_tokens);
  request.sampling.temperature = 0;
  request.top_logprobs = 0;
  return request;
}

std::vector<Chunk> AnswerAll(Engine& engine,
                             const std::vector<Request>& requests) {
  std::vector<std::unique_ptr<ResponseStream>> streams;
  for (const Request& request : requests) {
    streams.push_back(Submit(engine, request));
  }
  std::vector<Chunk> answers;
  for (const auto& stream : streams) answers.push_back(ReadAll(*stream));
  return answers;
}

class SpeculationTest : public testing::TestWithParam<BackendKind> {};

TEST_P(SpeculationTest, GreedyAnswersAreThoseOfPlainDecoding) {
  std::mt19937 random(1);
  std::vector<Request> plain;
  std::vector<Request> speculative;
  for (int i = 0; i < kPrompts; ++i) {
    Request request = GreedyRequest(random, 1 + i % 30);
    request.precision.fixed_bits = 4 + i % 5;
    if (i % 7 == 0) request.sampling.presence_penalty = 1.5f;
    if (i % 5 == 0) request.stopping.stop_token_ids = {3, 50, 120, 200};
    plain.push_back(request);
    request.speculation = {
        .draft_tokens = 1 + i % kMaxDraftTokens,
        .draft_bits = 3 + i % (*request.precision.fixed_bits - 3)};
    if (i % 4 == 0) request.speculation->draft_bits.reset();
    speculative.push_back(std::move(request));
  }
  // Few blocks, so that windows are cut off by preemption, too.
  const auto engine = MakeEngine({.max_sequences = 8,
                                  .kv_block_tokens = 4,
                                  .kv_cache_bytes = size_t{64} * 1024},
                                 GetParam());
  const std::vector<Chunk> expected = AnswerAll(*engine, plain);
  const std::vector<Chunk> answers = AnswerAll(*engine, speculative);
  int64_t drafted = 0;
  int64_t accepted = 0;
  for (int i = 0; i < kPrompts; ++i) {
    ASSERT_EQ(TokensOf(answers[i]), TokensOf(expected[i])) << i;
    // Not only the likeliest token: the whole distribution, to the last bit.
    ASSERT_EQ(LogprobsOf(answers[i]), LogprobsOf(expected[i])) << i;
    const RequestStats& stats = answers[i].finish->stats;
    EXPECT_EQ(answers[i].finish->reason, expected[i].finish->reason);
    EXPECT_EQ(stats.completion_tokens,
              static_cast<int>(answers[i].tokens.size()));
    EXPECT_EQ(stats.tokens_by_bits[*plain[i].precision.fixed_bits],
              stats.completion_tokens);
    drafted += stats.draft_tokens;
    accepted += stats.accepted_draft_tokens;
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, drafted);
  const EngineStats stats = engine->Stats();
  EXPECT_EQ(stats.draft_tokens, drafted);
  EXPECT_EQ(stats.accepted_draft_tokens, accepted);
  EXPECT_GT(stats.preemptions, 0);
  EXPECT_EQ(stats.kv_blocks_free, stats.kv_blocks_total);
}

INSTANTIATE_TEST_SUITE_P(Backends, SpeculationTest,
                         testing::Values(BackendKind::kReference,
                                         BackendKind::kCpuInt16,
                                         BackendKind::kCpuFloat32));

TEST(SpeculationEngineTest, TheSameSeedGivesTheSameSample) {
  std::mt19937 random(2);
  Request request = GreedyRequest(random, 40);
  request.sampling.temperature = 1;
  request.precision.fixed_bits = 8;
  request.speculation = {.draft_tokens = 4, .draft_bits = 3};
  const auto engine = MakeEngine({}, BackendKind::kCpuInt16);
  const std::vector<Chunk> answers = AnswerAll(*engine, {request, request});
  EXPECT_EQ(TokensOf(answers[0]), TokensOf(answers[1]));
}

TEST(SpeculationEngineTest, OffUnlessAskedFor) {
  std::mt19937 random(3);
  const Request request = GreedyRequest(random, 20);
  const auto off = MakeEngine({}, BackendKind::kCpuInt16);
  EXPECT_EQ(AnswerAll(*off, {request})[0].finish->stats.draft_tokens, 0);
  Request refuses = request;
  refuses.speculation = {.draft_tokens = 0};
  const auto automatic =
      MakeEngine({.speculate = true}, BackendKind::kCpuInt16);
  EXPECT_EQ(AnswerAll(*automatic, {refuses})[0].finish->stats.draft_tokens, 0);
  EXPECT_EQ(TokensOf(AnswerAll(*automatic, {request})[0]),
            TokensOf(AnswerAll(*off, {request})[0]));
}

TEST(SpeculationEngineTest, RefusesWhatMakesNoSense) {
  std::mt19937 random(4);
  const auto engine = MakeEngine({}, BackendKind::kCpuInt16);
  const auto error = [&](int bits, const SpeculationSpec& speculation) {
    Request request = GreedyRequest(random, 5);
    request.precision.fixed_bits = bits;
    request.speculation = speculation;
    const auto stream = engine->Submit(std::move(request));
    EXPECT_EQ(stream.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(stream.status().message());
  };
  EXPECT_EQ(error(8, {.draft_tokens = 9}),
            "speculation.draft_tokens: 9, needs [0, 8]");
  EXPECT_EQ(error(5, {.draft_bits = 5}),
            "speculation.draft_bits: 5, needs 3 or more, and less than 5, the "
            "request's highest precision");
  EXPECT_EQ(error(3, {.draft_tokens = 2}),
            "speculation.draft_tokens: 2, needs a request above 3 bits, the "
            "lowest precision");
}

}  // namespace
}  // namespace anyprec
