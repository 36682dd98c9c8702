// When requests are taken, end and fail, and what is left of them then.
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
#include "tests/runtime/engine/engine_loop_fixture.h"

namespace anyprec {
namespace {

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
  AdmissionQuery query;
  query.deadline = request.deadline;
  EXPECT_EQ(loop_->Admit(query).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(loop_->Submit(std::move(request)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace anyprec
