// What answers hold: tokens, text, scores, and the bits they were made at.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/runtime/engine/engine_loop_fixture.h"

namespace anyprec {
namespace {

using EngineLoopAnswerTest = EngineLoopTest;

TEST_F(EngineLoopAnswerTest, StreamsTokensTextAndStatistics) {
  Start();
  control_.Script(1, Letters("hello"));
  Request request = MakeRequest({1, 2, 3}, 5);
  request.precision.fixed_bits = 4;
  const Chunk all = Run(std::move(request));
  EXPECT_EQ(all.text, "hello");
  EXPECT_EQ(TokensOf(all), Letters("hello"));
  for (const TokenOutput& token : all.tokens) EXPECT_EQ(token.bits, 4);
  ASSERT_TRUE(all.finish.has_value());
  EXPECT_EQ(all.finish->reason, FinishReason::kLength);
  EXPECT_TRUE(all.finish->status.ok());
  const RequestStats& stats = all.finish->stats;
  EXPECT_EQ(stats.prompt_tokens, 3);
  EXPECT_EQ(stats.completion_tokens, 5);
  EXPECT_EQ(stats.tokens_by_bits[4], 5);
  EXPECT_EQ(stats.precision_changes, 0);
  EXPECT_EQ(stats.prompt_tokens_by_bits[4], 3);
  EXPECT_GE(stats.ttft, stats.queue_time);
  EXPECT_GE(stats.total, stats.ttft);
  const EngineStats engine = loop_->Stats();
  EXPECT_EQ(engine.prompt_tokens_by_bits[4], 3);
  EXPECT_EQ(engine.generated_tokens_by_bits[4], 5);
  EXPECT_EQ(engine.steps, 5);
}

TEST_F(EngineLoopAnswerTest, AutomaticPrecisionWithoutSloTakesTheCeiling) {
  Start();
  Request request = MakeRequest({1}, 3);
  request.precision.max_bits = 6;
  EXPECT_EQ(Run(std::move(request)).finish->stats.tokens_by_bits[6], 3);
}

TEST_F(EngineLoopAnswerTest,
       AutomaticPrecisionMeetsADeadlineThatTheCeilingMisses) {
  // As measured, 20 tokens take 20 hours at 8 bits and 2.5 at 3. What steps
  // really take is nothing beside that, however much it corrects.
  for (int bits = 3; bits <= 8; ++bits) {
    costs_.Measure({Phase::kDecode, bits, 1},
                   absl::Hours(bits == 3 ? 0.125 : 1.0));
  }
  Start();
  Request request = MakeRequest({1}, 20);
  request.deadline = absl::Now() + absl::Hours(5);
  const Chunk all = Run(std::move(request));
  EXPECT_EQ(all.tokens.front().bits, 3);
}

TEST_F(EngineLoopAnswerTest, APromptsBitsAreReportedApartFromItsAnswers) {
  // As measured, only 3 bits have the first token in time, and any the others.
  for (int bits = 3; bits <= 8; ++bits) {
    costs_.Measure({Phase::kPrefill, bits, 10},
                   absl::Hours(bits == 3 ? 0.125 : 1.0));
    costs_.Measure({Phase::kDecode, bits, 1}, absl::Nanoseconds(1));
  }
  Start();
  Request request = MakeRequest(std::vector<TokenId>(10, 1), 5);
  request.precision.slo.ttft = absl::Hours(0.5);
  const RequestStats stats = Run(std::move(request)).finish->stats;
  EXPECT_EQ(stats.prompt_tokens_by_bits[3], 10);
  // The last row of the prompt gives the first token.
  EXPECT_EQ(stats.tokens_by_bits[3], 1);
  EXPECT_EQ(stats.tokens_by_bits[8], 4);
  EXPECT_EQ(loop_->Stats().prompt_tokens_by_bits[3], 10);
}

TEST_F(EngineLoopAnswerTest, RowsOfThePrefixCacheAreReportedAtTheBitsTheyHave) {
  Start();
  const std::vector<TokenId> prompt(10, 1);
  Request high = MakeRequest(prompt, 1);
  high.precision.fixed_bits = 8;
  Run(std::move(high));
  ASSERT_TRUE(loop_->SetPrecisionLimits({.min_bits = 3, .max_bits = 6}).ok());
  Request request = MakeRequest(prompt, 3);
  request.precision.min_bits = 4;
  request.precision.max_bits = 8;
  const RequestStats stats = Run(std::move(request)).finish->stats;
  EXPECT_EQ(stats.cached_prompt_tokens, 8);
  EXPECT_EQ(stats.prompt_tokens_by_bits[8], 8);
  EXPECT_EQ(stats.prompt_tokens_by_bits[6], 2);
  EXPECT_EQ(stats.tokens_by_bits[6], 3);
  // What was found was not computed.
  EXPECT_EQ(loop_->Stats().prompt_tokens_by_bits[8], 10);
  EXPECT_EQ(loop_->Stats().prompt_tokens_by_bits[6], 2);
}

TEST_F(EngineLoopAnswerTest, EndsAtEveryEosTokenAndKeepsItOutOfTheText) {
  Start();
  control_.Script(1, {0, 1, kEos, 2});
  control_.Script(2, {0, 1, kOtherEos, 2});
  for (const TokenId first : {1, 2}) {
    const Chunk all = Run(MakeRequest({first}, 10));
    EXPECT_EQ(all.text, "ab");
    EXPECT_EQ(all.tokens.size(), 3u);
    EXPECT_EQ(all.finish->reason, FinishReason::kStop);
  }
}

TEST_F(EngineLoopAnswerTest, IgnoresEosWhereAsked) {
  Start();
  control_.Script(1, {0, kEos, 1, 2});
  Request request = MakeRequest({1}, 4);
  request.stopping.ignore_eos = true;
  const Chunk all = Run(std::move(request));
  EXPECT_EQ(all.text, "abc");
  EXPECT_EQ(all.finish->reason, FinishReason::kLength);
}

TEST_F(EngineLoopAnswerTest, EndsAtStopTokens) {
  Start();
  control_.Script(1, Letters("abcd"));
  Request request = MakeRequest({1}, 4);
  request.stopping.stop_token_ids = {2};
  const Chunk all = Run(std::move(request));
  EXPECT_EQ(all.text, "ab");
  EXPECT_EQ(all.finish->reason, FinishReason::kStop);
}

TEST_F(EngineLoopAnswerTest, EndsBeforeAStopStringThatSpansTokens) {
  Start();
  control_.Script(1, Letters("onestoptwo"));
  Request request = MakeRequest({1}, 10);
  request.stopping.stop = {"never", "stop"};
  const Chunk all = Run(std::move(request));
  EXPECT_EQ(all.text, "one");
  EXPECT_EQ(all.tokens.size(), 7u);
  EXPECT_EQ(all.finish->reason, FinishReason::kStop);
}

TEST_F(EngineLoopAnswerTest, GivesOutHeldBackTextAtTheEnd) {
  Start();
  control_.Script(1, Letters("onest"));
  Request request = MakeRequest({1}, 5);
  request.stopping.stop = {"stop"};
  const Chunk all = Run(std::move(request));
  EXPECT_EQ(all.text, "onest");
  EXPECT_EQ(all.finish->reason, FinishReason::kLength);
}

TEST_F(EngineLoopAnswerTest, TextIsValidUtf8InEveryChunk) {
  Start();
  control_.Script(1, {0, 26, 27, 1, 26});
  auto stream = Submit(MakeRequest({1}, 5));
  std::string text;
  while (const auto chunk = stream->Next()) {
    EXPECT_NE(chunk->text, "\xc3");
    text += chunk->text;
  }
  EXPECT_EQ(text, "a\u00e9b\ufffd");
}

TEST_F(EngineLoopAnswerTest, ScoresAPromptInChunks) {
  Request request = MakeRequest(Letters("abcdefghijklmnopqrstuvwxyz"), 0);
  request.prompt_logprobs = true;
  std::vector<std::vector<float>> scores;
  for (const int chunk : {512, 7, 1}) {
    options_.scheduler.max_prompt_logit_rows = chunk;
    Start();
    const Chunk all = Run(request);
    EXPECT_EQ(all.finish->reason, FinishReason::kLength);
    EXPECT_TRUE(all.tokens.empty());
    EXPECT_EQ(all.prompt_logprobs.size(), 25u);
    scores.push_back(all.prompt_logprobs);
    for (const float logprob : all.prompt_logprobs) EXPECT_LT(logprob, 0);
  }
  EXPECT_EQ(scores[0], scores[1]);
  EXPECT_EQ(scores[0], scores[2]);
}

TEST_F(EngineLoopAnswerTest, ScoresAPromptBeforeItsAnswer) {
  Start();
  Request request = MakeRequest({1, 2, 3}, 2);
  request.prompt_logprobs = true;
  auto stream = Submit(std::move(request));
  EXPECT_EQ(stream->Next()->prompt_logprobs.size(), 2u);
  EXPECT_TRUE(ReadAll(*stream).prompt_logprobs.empty());
}

TEST_F(EngineLoopAnswerTest, ReportsLogprobsWhereAsked) {
  Start();
  Request request = MakeRequest({1}, 3);
  request.top_logprobs = 4;
  for (const TokenOutput& token : Run(request).tokens) {
    ASSERT_EQ(token.top.size(), 4u);
    EXPECT_EQ(token.top[0].token, token.token);  // greedy
    EXPECT_EQ(token.top[0].logprob, token.logprob);
  }
}

}  // namespace
}  // namespace anyprec
