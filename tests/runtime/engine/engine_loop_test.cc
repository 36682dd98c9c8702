#include "runtime/engine/engine_loop.h"

#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/runtime/engine/fake_runner.h"
#include "tests/runtime/engine/fake_tokenizer.h"

namespace anyprec {
namespace {

constexpr int kVocab = 100;
constexpr TokenId kEos = 90;
constexpr TokenId kOtherEos = 91;

// Token 0..25 are the letters; 26 and 27 the two bytes of an e with acute.
std::vector<std::string> Vocabulary() {
  std::vector<std::string> tokens;
  for (char c = 'a'; c <= 'z'; ++c) tokens.push_back(std::string(1, c));
  tokens.push_back("\xc3");
  tokens.push_back("\xa9");
  while (tokens.size() < kEos) tokens.push_back("#");
  return tokens;
}

std::vector<TokenId> Letters(const std::string& text) {
  std::vector<TokenId> tokens;
  for (const char c : text) tokens.push_back(c - 'a');
  return tokens;
}

Request MakeRequest(std::vector<TokenId> prompt, int max_tokens) {
  Request request;
  request.id = "test";
  request.prompt = std::move(prompt);
  request.stopping.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  return request;
}

// All that a stream gives until its end.
Chunk ReadAll(ResponseStream& stream) {
  Chunk all;
  while (std::optional<Chunk> chunk = stream.Next()) {
    all.text += chunk->text;
    for (TokenOutput& token : chunk->tokens) all.tokens.push_back(token);
    for (const float p : chunk->prompt_logprobs) {
      all.prompt_logprobs.push_back(p);
    }
    all.finish = chunk->finish;
  }
  return all;
}

std::vector<TokenId> TokensOf(const Chunk& chunk) {
  std::vector<TokenId> tokens;
  for (const TokenOutput& output : chunk.tokens) tokens.push_back(output.token);
  return tokens;
}

class EngineLoopTest : public testing::Test {
 protected:
  void Start() {
    options_.limits.vocab_size = kVocab;
    options_.limits.min_bits = 3;
    options_.limits.max_bits = 8;
    options_.limits.max_context_tokens = 256;
    options_.limits.has_tokenizer = true;
    options_.limits.eos_ids = {kEos, kOtherEos};
    options_.kv_block_tokens = 4;
    if (options_.kv_blocks == 0) options_.kv_blocks = 1024;
    loop_ = std::make_unique<EngineLoop>(
        options_,
        std::make_unique<FakeRunner>(control_, kVocab, options_.kv_blocks,
                                     options_.kv_block_tokens),
        &tokenizer_, costs_);
  }

  std::unique_ptr<ResponseStream> Submit(Request request) {
    auto stream = loop_->Submit(std::move(request));
    EXPECT_TRUE(stream.ok()) << stream.status();
    return *std::move(stream);
  }

  Chunk Run(Request request) { return ReadAll(*Submit(std::move(request))); }

  // Returns when a Drain() in another thread has begun.
  void AwaitDraining() {
    while (!absl::IsUnavailable(loop_->Submit(MakeRequest({1}, 1)).status())) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  void ExpectIdle() {
    loop_->Drain(absl::InfiniteFuture());
    const EngineStats stats = loop_->Stats();
    EXPECT_EQ(stats.kv_blocks_free, stats.kv_blocks_total);
    EXPECT_EQ(stats.running + stats.waiting, 0);
  }

  FakeControl control_;
  FakeTokenizer tokenizer_{Vocabulary(), {kEos, kOtherEos}};
  EngineLoopOptions options_;
  StepCostModel costs_;
  std::unique_ptr<EngineLoop> loop_;
};

// A fake step takes longer than what was measured.
TEST_F(EngineLoopTest, LearnsFromStepsAndForgetsItOnceIdle) {
  const RowCount row = {Phase::kDecode, 8, 1};
  costs_.Measure(row, absl::Nanoseconds(1));
  const auto predicted = [&] {
    return loop_->Stats().step_costs->Predict(row);
  };
  options_.recent_costs_age = absl::Hours(1);
  Start();
  Run(MakeRequest({1}, 20));
  loop_->Drain(absl::InfiniteFuture());
  EXPECT_GT(predicted(), costs_.Predict(row));

  options_.recent_costs_age = absl::Milliseconds(1);
  Start();
  Run(MakeRequest({1}, 20));
  while (predicted() > costs_.Predict(row)) {
    absl::SleepFor(absl::Milliseconds(1));
  }
}

TEST_F(EngineLoopTest, StreamsTokensTextAndStatistics) {
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

TEST_F(EngineLoopTest, AutomaticPrecisionWithoutSloTakesTheCeiling) {
  Start();
  Request request = MakeRequest({1}, 3);
  request.precision.max_bits = 6;
  EXPECT_EQ(Run(std::move(request)).finish->stats.tokens_by_bits[6], 3);
}

TEST_F(EngineLoopTest, AutomaticPrecisionMeetsADeadlineThatTheCeilingMisses) {
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

TEST_F(EngineLoopTest, APromptsBitsAreReportedApartFromItsAnswers) {
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

TEST_F(EngineLoopTest, RowsOfThePrefixCacheAreReportedAtTheBitsTheyHave) {
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

TEST_F(EngineLoopTest, EndsAtEveryEosTokenAndKeepsItOutOfTheText) {
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

TEST_F(EngineLoopTest, IgnoresEosWhereAsked) {
  Start();
  control_.Script(1, {0, kEos, 1, 2});
  Request request = MakeRequest({1}, 4);
  request.stopping.ignore_eos = true;
  const Chunk all = Run(std::move(request));
  EXPECT_EQ(all.text, "abc");
  EXPECT_EQ(all.finish->reason, FinishReason::kLength);
}

TEST_F(EngineLoopTest, EndsAtStopTokens) {
  Start();
  control_.Script(1, Letters("abcd"));
  Request request = MakeRequest({1}, 4);
  request.stopping.stop_token_ids = {2};
  const Chunk all = Run(std::move(request));
  EXPECT_EQ(all.text, "ab");
  EXPECT_EQ(all.finish->reason, FinishReason::kStop);
}

TEST_F(EngineLoopTest, EndsBeforeAStopStringThatSpansTokens) {
  Start();
  control_.Script(1, Letters("onestoptwo"));
  Request request = MakeRequest({1}, 10);
  request.stopping.stop = {"never", "stop"};
  const Chunk all = Run(std::move(request));
  EXPECT_EQ(all.text, "one");
  EXPECT_EQ(all.tokens.size(), 7u);
  EXPECT_EQ(all.finish->reason, FinishReason::kStop);
}

TEST_F(EngineLoopTest, GivesOutHeldBackTextAtTheEnd) {
  Start();
  control_.Script(1, Letters("onest"));
  Request request = MakeRequest({1}, 5);
  request.stopping.stop = {"stop"};
  const Chunk all = Run(std::move(request));
  EXPECT_EQ(all.text, "onest");
  EXPECT_EQ(all.finish->reason, FinishReason::kLength);
}

TEST_F(EngineLoopTest, TextIsValidUtf8InEveryChunk) {
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

TEST_F(EngineLoopTest, ChunksMergeForASlowReader) {
  Start();
  control_.Script(1, Letters("hello"));
  auto stream = Submit(MakeRequest({1}, 5));
  loop_->Drain(absl::InfiniteFuture());
  const std::optional<Chunk> chunk = stream->TryNext();
  ASSERT_TRUE(chunk.has_value());
  EXPECT_EQ(chunk->text, "hello");
  EXPECT_EQ(chunk->tokens.size(), 5u);
  EXPECT_TRUE(chunk->finish.has_value());
  EXPECT_FALSE(stream->TryNext().has_value());
  EXPECT_FALSE(stream->Next().has_value());
}

TEST_F(EngineLoopTest, TellsAReaderWhenThereIsOutput) {
  Start();
  control_.CloseGate();
  auto stream = Submit(MakeRequest({1}, 3));
  std::atomic<int> calls = 0;
  stream->OnReady([&] { ++calls; });
  EXPECT_EQ(calls, 0);
  EXPECT_FALSE(stream->TryNext().has_value());
  control_.OpenGate();
  loop_->Drain(absl::InfiniteFuture());
  EXPECT_GE(calls, 1);
  calls = 0;
  stream->OnReady([&] { ++calls; });
  EXPECT_EQ(calls, 1) << "output is there already";
}

TEST_F(EngineLoopTest, CancellingStopsTheWorkWithinOneStep) {
  Start();
  control_.CloseGate();
  auto stream = Submit(MakeRequest({1}, 200));
  control_.AwaitStep();
  stream->Cancel();
  control_.OpenGate();
  const Chunk all = ReadAll(*stream);
  EXPECT_EQ(all.finish->reason, FinishReason::kCancelled);
  EXPECT_EQ(all.finish->status.code(), absl::StatusCode::kCancelled);
  EXPECT_LE(all.tokens.size(), 1u);
  EXPECT_EQ(loop_->Stats().steps, 1);
  ExpectIdle();
}

TEST_F(EngineLoopTest, DroppingAStreamCancelsItsRequest) {
  Start();
  control_.CloseGate();
  auto stream = Submit(MakeRequest({1}, 200));
  control_.AwaitStep();
  stream.reset();
  control_.OpenGate();
  ExpectIdle();
  EXPECT_EQ(loop_->Stats().steps, 1);
}

TEST_F(EngineLoopTest, ARequestThatExpiresInTheQueueRunsNoStep) {
  options_.scheduler.max_sequences = 1;
  Start();
  control_.CloseGate();
  auto running = Submit(MakeRequest({1}, 3));
  control_.AwaitStep();
  Request request = MakeRequest({2}, 3);
  request.deadline = absl::Now() + absl::Milliseconds(20);
  auto queued = Submit(request);
  absl::SleepFor(request.deadline - absl::Now() + absl::Milliseconds(1));
  control_.OpenGate();
  const Chunk all = ReadAll(*queued);
  EXPECT_EQ(all.finish->reason, FinishReason::kDeadline);
  EXPECT_EQ(all.finish->status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(all.finish->stats.completion_tokens, 0);
  EXPECT_FALSE(control_.Computed(2));
  EXPECT_EQ(ReadAll(*running).finish->reason, FinishReason::kLength);
}

TEST_F(EngineLoopTest, ARequestThatExpiresWhileItRunsEndsWithinOneStep) {
  Start();
  control_.CloseGate();
  Request request = MakeRequest({1}, 1);
  request.deadline = absl::Now() + absl::Milliseconds(20);
  auto stream = Submit(request);
  control_.AwaitStep();
  absl::SleepFor(request.deadline - absl::Now() + absl::Milliseconds(1));
  control_.OpenGate();
  const Chunk all = ReadAll(*stream);
  // Its only token came too late: that is no success.
  EXPECT_EQ(all.finish->reason, FinishReason::kDeadline);
  EXPECT_EQ(loop_->Stats().steps, 1);
  ExpectIdle();
}

TEST_F(EngineLoopTest, TheTextDoesNotDependOnBatchMates) {
  options_.kv_blocks = 40;  // preemptions happen
  options_.scheduler.max_sequences = 16;
  options_.scheduler.prefill_chunk_tokens = 13;
  Start();
  std::mt19937 random(1);
  std::vector<Request> requests;
  for (int i = 0; i < 16; ++i) {
    std::vector<TokenId> prompt;
    for (int n = 5 + 3 * i; n > 0; --n) {
      prompt.push_back(static_cast<TokenId>(random() % kVocab));
    }
    Request request = MakeRequest(std::move(prompt), 20);
    request.precision.fixed_bits = 3 + i % 6;
    request.sampling.temperature = 0.1f * static_cast<float>(i);
    request.sampling.seed = i;
    request.sampling.repetition_penalty = i % 2 ? 1.0f : 1.2f;
    request.stopping.ignore_eos = true;
    requests.push_back(std::move(request));
  }
  std::vector<std::vector<TokenId>> alone;
  for (const Request& request : requests) {
    alone.push_back(TokensOf(Run(request)));
  }
  EXPECT_EQ(loop_->Stats().preemptions, 0);
  std::vector<std::unique_ptr<ResponseStream>> streams;
  for (const Request& request : requests) streams.push_back(Submit(request));
  for (size_t i = 0; i < streams.size(); ++i) {
    EXPECT_EQ(TokensOf(ReadAll(*streams[i])), alone[i]) << i;
  }
  EXPECT_GT(loop_->Stats().preemptions, 0);
  ExpectIdle();
}

TEST_F(EngineLoopTest, RequestsWithoutSeedDiffer) {
  Start();
  Request request = MakeRequest({1}, 30);
  request.sampling.temperature = 1;
  request.stopping.ignore_eos = true;
  EXPECT_NE(TokensOf(Run(request)), TokensOf(Run(request)));
}

TEST_F(EngineLoopTest, ServesManySubmittersAtOnce) {
  options_.scheduler.max_sequences = 8;
  options_.kv_blocks = 64;
  Start();
  std::vector<std::thread> threads;
  std::atomic<int> ended = 0;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([this, t, &ended] {
      std::mt19937 random(t);
      for (int i = 0; i < 12; ++i) {
        Request request = MakeRequest(
            {static_cast<TokenId>(random() % 26), 2, 3}, 1 + random() % 20);
        request.precision.fixed_bits = 3 + static_cast<int>(random() % 6);
        request.stopping.ignore_eos = true;
        const int max_tokens = request.stopping.max_tokens;
        auto stream = loop_->Submit(std::move(request));
        ASSERT_TRUE(stream.ok()) << stream.status();
        const int fate = static_cast<int>(random() % 4);
        if (fate == 0) {
          (*stream)->Cancel();
        } else if (fate == 1) {
          stream->reset();  // hangs up
          ++ended;
          continue;
        }
        const Chunk all = ReadAll(**stream);
        if (fate >= 2) {
          EXPECT_EQ(static_cast<int>(all.tokens.size()), max_tokens);
        }
        ++ended;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ended, 16 * 12);
  ExpectIdle();
}

TEST_F(EngineLoopTest, RefusesMoreThanTheQueueHolds) {
  options_.scheduler.max_sequences = 1;
  options_.max_queued_requests = 1;
  Start();
  control_.CloseGate();
  auto first = Submit(MakeRequest({1}, 3));
  auto second = Submit(MakeRequest({1}, 3));
  EXPECT_EQ(loop_->Submit(MakeRequest({1}, 3)).status().code(),
            absl::StatusCode::kResourceExhausted);
  control_.OpenGate();
  ReadAll(*first);
  ReadAll(*second);
  // Whoever saw the end finds the place free.
  for (int i = 0; i < 50; ++i) Run(MakeRequest({1}, 1));
}

TEST_F(EngineLoopTest, RefusesWhatTheCacheCanNeverHold) {
  options_.kv_blocks = 4;
  Start();
  const absl::Status refused =
      loop_->Submit(MakeRequest({1, 2, 3}, 30)).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(EngineLoopTest, DrainLetsAcceptedRequestsEnd) {
  Start();
  control_.CloseGate();
  auto stream = Submit(MakeRequest({1}, 5));
  std::thread drain([this] { loop_->Drain(absl::InfiniteFuture()); });
  AwaitDraining();
  control_.OpenGate();
  drain.join();
  EXPECT_EQ(ReadAll(*stream).finish->reason, FinishReason::kLength);
}

TEST_F(EngineLoopTest, DrainCancelsWhatIsLeftAtItsDeadline) {
  Start();
  control_.CloseGate();
  auto stream = Submit(MakeRequest({1}, 200));
  control_.AwaitStep();
  std::thread drain([this] { loop_->Drain(absl::InfinitePast()); });
  AwaitDraining();
  control_.OpenGate();
  drain.join();
  const std::optional<Chunk> last = stream->TryNext();
  ASSERT_TRUE(last.has_value() && last->finish.has_value());
  EXPECT_EQ(last->finish->reason, FinishReason::kCancelled);
  EXPECT_EQ(last->finish->status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(EngineLoopTest, AStreamOutlivesItsEngine) {
  Start();
  control_.Script(1, Letters("hello"));
  auto stream = Submit(MakeRequest({1}, 5));
  loop_->Drain(absl::InfiniteFuture());
  loop_.reset();
  EXPECT_EQ(ReadAll(*stream).text, "hello");
}

TEST_F(EngineLoopTest, LivesOnWhenTheBackendRunsOutOfMemory) {
  Start();
  control_.FailNextStep(absl::ResourceExhaustedError("no memory"));
  const Chunk all = Run(MakeRequest({1}, 5));
  EXPECT_EQ(all.finish->reason, FinishReason::kError);
  EXPECT_EQ(all.finish->status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(loop_->Health().ok());
  EXPECT_EQ(Run(MakeRequest({1}, 5)).tokens.size(), 5u);
  ExpectIdle();
}

TEST_F(EngineLoopTest, IsUnhealthyAfterAnyOtherBackendError) {
  Start();
  control_.FailNextStep(absl::InternalError("device lost"));
  const Chunk all = Run(MakeRequest({1}, 5));
  EXPECT_EQ(all.finish->reason, FinishReason::kError);
  EXPECT_EQ(all.finish->status.message(), "device lost");
  EXPECT_EQ(loop_->Health().message(), "device lost");
  EXPECT_EQ(loop_->Submit(MakeRequest({1}, 5)).status().message(),
            "device lost");
}

TEST_F(EngineLoopTest, LogitsThatAreNotFiniteEndOnlyTheirOwnRequest) {
  Start();
  control_.Poison(1);
  control_.CloseGate();
  auto bad = Submit(MakeRequest({1}, 5));
  auto good = Submit(MakeRequest({2}, 5));
  control_.OpenGate();
  const Chunk failed = ReadAll(*bad);
  EXPECT_EQ(failed.finish->reason, FinishReason::kError);
  EXPECT_EQ(failed.finish->status.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(failed.tokens.empty());
  EXPECT_EQ(ReadAll(*good).tokens.size(), 5u);
  EXPECT_TRUE(loop_->Health().ok());
  ExpectIdle();
}

TEST_F(EngineLoopTest, ScoresAPromptInChunks) {
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

TEST_F(EngineLoopTest, ScoresAPromptBeforeItsAnswer) {
  Start();
  Request request = MakeRequest({1, 2, 3}, 2);
  request.prompt_logprobs = true;
  auto stream = Submit(std::move(request));
  EXPECT_EQ(stream->Next()->prompt_logprobs.size(), 2u);
  EXPECT_TRUE(ReadAll(*stream).prompt_logprobs.empty());
}

TEST_F(EngineLoopTest, ReportsLogprobsWhereAsked) {
  Start();
  Request request = MakeRequest({1}, 3);
  request.top_logprobs = 4;
  for (const TokenOutput& token : Run(request).tokens) {
    ASSERT_EQ(token.top.size(), 4u);
    EXPECT_EQ(token.top[0].token, token.token);  // greedy
    EXPECT_EQ(token.top[0].logprob, token.logprob);
  }
}

TEST_F(EngineLoopTest, NamesTheFieldOfABadRequest) {
  Start();
  const auto refused = [this](const std::string& field, auto change) {
    Request request = MakeRequest({1, 2}, 5);
    change(request);
    const absl::Status status = loop_->Submit(std::move(request)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_EQ(status.message().substr(0, field.size() + 2), field + ": ");
    EXPECT_NE(status.message().find(", needs "), absl::string_view::npos)
        << status;
  };
  refused("prompt", [](Request& r) { r.prompt.clear(); });
  refused("prompt", [](Request& r) { r.prompt.resize(257); });
  refused("prompt[1]", [](Request& r) { r.prompt[1] = kVocab; });
  refused("prompt[0]", [](Request& r) { r.prompt[0] = -1; });
  refused("stopping.max_tokens", [](Request& r) { r.stopping.max_tokens = 0; });
  refused("stopping.max_tokens",
          [](Request& r) { r.stopping.max_tokens = 255; });
  refused("stopping.stop[0]", [](Request& r) { r.stopping.stop = {""}; });
  refused("stopping.stop", [](Request& r) { r.stopping.stop.resize(17, "x"); });
  refused("stopping.stop_token_ids[0]",
          [](Request& r) { r.stopping.stop_token_ids = {kVocab}; });
  refused("stopping.stop_token_ids",
          [](Request& r) { r.stopping.stop_token_ids.resize(257); });
  refused("sampling.temperature",
          [](Request& r) { r.sampling.temperature = -0.1f; });
  refused("sampling.temperature",
          [](Request& r) { r.sampling.temperature = NAN; });
  refused("sampling.top_k", [](Request& r) { r.sampling.top_k = -1; });
  refused("sampling.top_p", [](Request& r) { r.sampling.top_p = 0; });
  refused("sampling.top_p", [](Request& r) { r.sampling.top_p = 1.5f; });
  refused("sampling.min_p", [](Request& r) { r.sampling.min_p = 2; });
  refused("sampling.repetition_penalty",
          [](Request& r) { r.sampling.repetition_penalty = 0; });
  refused("sampling.presence_penalty",
          [](Request& r) { r.sampling.presence_penalty = 3; });
  refused("sampling.frequency_penalty",
          [](Request& r) { r.sampling.frequency_penalty = -INFINITY; });
  refused("precision.fixed_bits",
          [](Request& r) { r.precision.fixed_bits = 2; });
  refused("precision.min_bits", [](Request& r) { r.precision.min_bits = 9; });
  refused("precision.max_bits", [](Request& r) { r.precision.max_bits = 2; });
  refused("precision.min_bits", [](Request& r) {
    r.precision.min_bits = 6;
    r.precision.max_bits = 5;
  });
  refused("precision.fixed_bits", [](Request& r) {
    r.precision.fixed_bits = 4;
    r.precision.min_bits = 3;
  });
  refused("precision.slo.tpot",
          [](Request& r) { r.precision.slo.tpot = absl::ZeroDuration(); });
  refused("precision.slo.ttft",
          [](Request& r) { r.precision.slo.ttft = -absl::Seconds(1); });
  refused("top_logprobs", [](Request& r) { r.top_logprobs = 21; });
  ExpectIdle();
  EXPECT_EQ(loop_->Stats().steps, 0);
}

TEST_F(EngineLoopTest, RefusesADeadlineThatHasPassed) {
  Start();
  Request request = MakeRequest({1}, 5);
  request.deadline = absl::Now() - absl::Milliseconds(1);
  EXPECT_EQ(loop_->Submit(std::move(request)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace anyprec
