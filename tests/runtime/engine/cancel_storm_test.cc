// Ten thousand requests that clients cancel, drop or give too little time,
// while the KV cache is too small for those that run. Meant for
// ThreadSanitizer, too.

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "runtime/engine/engine_loop.h"
#include "tests/runtime/engine/fake_runner.h"

namespace anyprec {
namespace {

constexpr int kVocab = 32;
constexpr int kThreads = 4;
constexpr int kRequestsPerThread = 2500;
// Requests that a thread has open at once.
constexpr int kOpen = 16;

Request RandomRequest(std::mt19937& random) {
  const auto below = [&random](int n) {
    return static_cast<int>(random() % n);
  };
  Request request;
  request.id = "storm";
  // Few beginnings, so that blocks are shared and given up together.
  request.prompt.assign(1 + below(60), below(3));
  request.prompt.back() = below(kVocab);
  request.stopping.max_tokens = 1 + below(40);
  request.stopping.ignore_eos = true;
  request.priority = below(3);
  if (below(2) == 0) {
    request.precision.fixed_bits = 3 + below(6);
  } else {
    request.precision.min_bits = 3 + below(3);
    if (below(2) == 0) request.precision.slo.tpot = absl::Milliseconds(1);
  }
  if (below(2) == 0) {
    request.speculation.emplace();
    if (request.precision.fixed_bits != 3 && below(2) == 0) {
      request.speculation->draft_tokens = 1 + below(kMaxDraftTokens);
    }
  }
  if (below(3) == 0) {
    request.deadline = absl::Now() + absl::Microseconds(1 + below(20'000));
  }
  return request;
}

// How often requests ended for a reason.
using Reasons = std::array<std::atomic<int>, 5>;

void ExpectEnd(ResponseStream& stream, Reasons& reasons) {
  std::optional<Finish> finish;
  int tokens = 0;
  while (const std::optional<Chunk> chunk = stream.Next()) {
    EXPECT_FALSE(finish.has_value()) << "a chunk after the last";
    tokens += static_cast<int>(chunk->tokens.size());
    finish = chunk->finish;
  }
  ASSERT_TRUE(finish.has_value());
  EXPECT_NE(finish->reason, FinishReason::kError) << finish->status;
  EXPECT_EQ(finish->status.ok(), finish->reason == FinishReason::kLength)
      << finish->status;
  EXPECT_LE(tokens, finish->stats.completion_tokens);
  ++reasons[static_cast<size_t>(finish->reason)];
}

// Returns how many requests have no end to see: refused, or dropped unread.
int Client(int seed, EngineLoop& loop, Reasons& reasons) {
  std::mt19937 random(seed);
  std::vector<std::unique_ptr<ResponseStream>> open;
  int unseen = 0;
  for (int sent = 0; sent < kRequestsPerThread || !open.empty();) {
    if (sent < kRequestsPerThread && open.size() < kOpen) {
      ++sent;
      auto stream = loop.Submit(RandomRequest(random));
      if (absl::IsDeadlineExceeded(stream.status())) {
        ++reasons[static_cast<size_t>(FinishReason::kDeadline)];
      } else if (RefusalOf(stream.status()).has_value()) {
        ++unseen;  // its deadline could not be met
      } else {
        EXPECT_TRUE(stream.ok()) << stream.status();
        if (stream.ok()) open.push_back(*std::move(stream));
      }
      continue;
    }
    const size_t victim = random() % open.size();
    std::unique_ptr<ResponseStream> stream = std::move(open[victim]);
    open.erase(open.begin() + static_cast<long>(victim));
    switch (random() % 4) {
      case 0:
        ++unseen;
        break;  // the stream is dropped
      case 1:
        stream->Cancel();
        ExpectEnd(*stream, reasons);
        break;
      case 2: {  // in the middle of Next()
        std::thread other([&stream] { stream->Cancel(); });
        ExpectEnd(*stream, reasons);
        other.join();
        break;
      }
      default:
        ExpectEnd(*stream, reasons);
    }
  }
  return unseen;
}

TEST(CancelStormTest, EveryRequestEndsOnceAndItsBlocksComeBack) {
  EngineLoopOptions options;
  options.scheduler.max_sequences = 24;
  options.scheduler.prefill_chunk_tokens = 48;
  options.scheduler.drafts.bits = {3, 8};
  options.limits.vocab_size = kVocab;
  options.limits.min_bits = 3;
  options.limits.max_bits = 8;
  options.limits.max_context_tokens = 128;
  options.max_queued_requests = kThreads * kRequestsPerThread;
  options.kv_block_tokens = 4;
  options.kv_blocks = 160;  // of 600 that the sequences may want together
  FakeControl control;
  Reasons reasons = {};
  std::atomic<int> unseen = 0;
  EngineLoop loop(
      options,
      std::make_unique<FakeRunner>(control, kVocab, options.kv_blocks,
                                   options.kv_block_tokens),
      /*tokenizer=*/nullptr, StepCostModel());
  std::vector<std::thread> clients;
  for (int i = 0; i < kThreads; ++i) {
    clients.emplace_back([&, i] { unseen += Client(i, loop, reasons); });
  }
  for (std::thread& client : clients) client.join();
  loop.Drain(absl::InfiniteFuture());
  int ended = unseen;
  for (const std::atomic<int>& count : reasons) ended += count;
  EXPECT_EQ(ended, kThreads * kRequestsPerThread);
  for (const FinishReason reason :
       {FinishReason::kLength, FinishReason::kDeadline,
        FinishReason::kCancelled}) {
    EXPECT_GT(reasons[static_cast<size_t>(reason)], 0)
        << static_cast<int>(reason);
  }
  const EngineStats stats = loop.Stats();
  EXPECT_EQ(stats.kv_blocks_free, stats.kv_blocks_total);
  EXPECT_EQ(stats.running + stats.waiting, 0);
  EXPECT_GT(stats.preemptions, 0);
  EXPECT_GT(stats.prefix_cache_hits, 0);
  EXPECT_TRUE(loop.Health().ok());
}

}  // namespace
}  // namespace anyprec
