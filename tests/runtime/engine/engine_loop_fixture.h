// An EngineLoop whose model says what a test's script tells it to.
#ifndef ANYPREC_TESTS_RUNTIME_ENGINE_ENGINE_LOOP_FIXTURE_H_
#define ANYPREC_TESTS_RUNTIME_ENGINE_ENGINE_LOOP_FIXTURE_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "runtime/engine/engine_loop.h"
#include "tests/runtime/engine/answers.h"
#include "tests/runtime/engine/fake_runner.h"
#include "tests/runtime/engine/fake_tokenizer.h"

namespace anyprec {

inline constexpr int kVocab = 100;
inline constexpr TokenId kEos = 90;
inline constexpr TokenId kOtherEos = 91;

// Token 0..25 are the letters; 26 and 27 the two bytes of an e with acute.
inline std::vector<std::string> Vocabulary() {
  std::vector<std::string> tokens;
  for (char c = 'a'; c <= 'z'; ++c) tokens.push_back(std::string(1, c));
  tokens.push_back("\xc3");
  tokens.push_back("\xa9");
  while (tokens.size() < kEos) tokens.push_back("#");
  return tokens;
}

inline std::vector<TokenId> Letters(const std::string& text) {
  std::vector<TokenId> tokens;
  for (const char c : text) tokens.push_back(c - 'a');
  return tokens;
}

inline Request MakeRequest(std::vector<TokenId> prompt, int max_tokens) {
  Request request;
  request.id = "test";
  request.prompt = std::move(prompt);
  request.stopping.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  return request;
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

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_ENGINE_ENGINE_LOOP_FIXTURE_H_
