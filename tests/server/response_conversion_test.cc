#include "server/response_conversion.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace anyprec {
namespace {

Chunk ChunkOf(const std::string& text, int token, int bits) {
  Chunk chunk;
  chunk.text = text;
  TokenOutput output;
  output.token = token;
  output.bits = bits;
  output.logprob = -0.5f;
  output.top = {{token, -0.5f}, {7, -1.5f}};
  chunk.tokens.push_back(output);
  return chunk;
}

TEST(ResponseConversionTest, TokensCarryTheirBits) {
  const v1::GenerateResponse response =
      ToGenerateResponse(3, ChunkOf("hi", 42, 5), /*logprobs=*/false);
  EXPECT_EQ(response.index(), 3);
  EXPECT_EQ(response.text(), "hi");
  ASSERT_EQ(response.tokens_size(), 1);
  EXPECT_EQ(response.tokens(0).id(), 42);
  EXPECT_EQ(response.tokens(0).bits(), 5);
  EXPECT_FALSE(response.tokens(0).has_logprob());
  EXPECT_EQ(response.tokens(0).top_logprobs_size(), 0);
  EXPECT_FALSE(response.has_finish());
}

TEST(ResponseConversionTest, LogprobsAreReportedWhereAskedFor) {
  const v1::GenerateResponse response =
      ToGenerateResponse(0, ChunkOf("hi", 42, 5), /*logprobs=*/true);
  EXPECT_EQ(response.tokens(0).logprob(), -0.5f);
  ASSERT_EQ(response.tokens(0).top_logprobs_size(), 2);
  EXPECT_EQ(response.tokens(0).top_logprobs(1).id(), 7);
}

TEST(ResponseConversionTest, FinishHoldsUsageTimingsAndBits) {
  Finish finish;
  finish.reason = FinishReason::kLength;
  finish.stats.prompt_tokens = 10;
  finish.stats.completion_tokens = 6;
  finish.stats.queue_time = absl::Milliseconds(1);
  finish.stats.ttft = absl::Milliseconds(20);
  finish.stats.tpot = absl::Microseconds(1500);
  finish.stats.total = absl::Milliseconds(28);
  finish.stats.tokens_by_bits[4] = 2;
  finish.stats.tokens_by_bits[8] = 4;
  finish.stats.precision_changes = 1;
  finish.stats.prompt_tokens_by_bits[3] = 7;
  finish.stats.prompt_tokens_by_bits[8] = 3;
  const v1::Finish message = ToFinish(finish);
  EXPECT_EQ(message.reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(message.usage().prompt_tokens(), 10);
  EXPECT_EQ(message.usage().completion_tokens(), 6);
  EXPECT_DOUBLE_EQ(message.timings().queue_ms(), 1);
  EXPECT_DOUBLE_EQ(message.timings().ttft_ms(), 20);
  EXPECT_DOUBLE_EQ(message.timings().tpot_ms(), 1.5);
  EXPECT_DOUBLE_EQ(message.timings().total_ms(), 28);
  ASSERT_EQ(message.tokens_by_bits_size(), 2);
  EXPECT_EQ(message.tokens_by_bits(0).bits(), 4);
  EXPECT_EQ(message.tokens_by_bits(0).tokens(), 2);
  EXPECT_EQ(message.tokens_by_bits(1).bits(), 8);
  EXPECT_EQ(message.precision_changes(), 1);
  ASSERT_EQ(message.prompt_tokens_by_bits_size(), 2);
  EXPECT_EQ(message.prompt_tokens_by_bits(0).bits(), 3);
  EXPECT_EQ(message.prompt_tokens_by_bits(0).tokens(), 7);
  EXPECT_EQ(message.prompt_tokens_by_bits(1).bits(), 8);
}

TEST(ResponseConversionTest, EachFinishReasonHasItsOwnName) {
  const std::vector<std::pair<FinishReason, v1::FinishReason>> reasons = {
      {FinishReason::kStop, v1::FINISH_REASON_STOP},
      {FinishReason::kLength, v1::FINISH_REASON_LENGTH},
      {FinishReason::kDeadline, v1::FINISH_REASON_DEADLINE},
      {FinishReason::kCancelled, v1::FINISH_REASON_CANCELLED},
      {FinishReason::kError, v1::FINISH_REASON_ERROR},
  };
  for (const auto& [reason, expected] : reasons) {
    Finish finish;
    finish.reason = reason;
    EXPECT_EQ(ToFinish(finish).reason(), expected);
  }
}

TEST(ResponseConversionTest, MessagesOfASampleJoinInOrder) {
  v1::GenerateResponse first = ToGenerateResponse(2, ChunkOf("a", 1, 3), false);
  first.mutable_prompt()->set_prompt_tokens(9);
  Chunk last = ChunkOf("b", 2, 8);
  last.finish.emplace();
  v1::GenerateResponse sample;
  AppendGenerateResponse(first, sample);
  AppendGenerateResponse(ToGenerateResponse(2, last, false), sample);
  EXPECT_EQ(sample.index(), 2);
  EXPECT_EQ(sample.text(), "ab");
  ASSERT_EQ(sample.tokens_size(), 2);
  EXPECT_EQ(sample.tokens(0).bits(), 3);
  EXPECT_EQ(sample.tokens(1).bits(), 8);
  EXPECT_EQ(sample.prompt().prompt_tokens(), 9);
  EXPECT_TRUE(sample.has_finish());
}

TEST(ResponseConversionTest, ScoreSumsWhatFollowsTheContext) {
  Request request;
  request.prompt = {5, 6, 7, 8};
  request.precision.fixed_bits = 4;
  const std::vector<float> logprobs = {-1, -2, -4};
  const v1::ScoreResponse all =
      ToScoreResponse(request, /*context_tokens=*/1, logprobs, {});
  EXPECT_DOUBLE_EQ(all.total_logprob(), -7);
  EXPECT_EQ(all.scored_tokens(), 3);
  EXPECT_DOUBLE_EQ(all.perplexity(), std::exp(7.0 / 3));
  EXPECT_EQ(all.bits(), 4);

  const v1::ScoreResponse tail =
      ToScoreResponse(request, /*context_tokens=*/3, logprobs, {});
  EXPECT_DOUBLE_EQ(tail.total_logprob(), -4);
  EXPECT_EQ(tail.scored_tokens(), 1);
  ASSERT_EQ(tail.tokens_size(), 4);
  EXPECT_FALSE(tail.tokens(2).has_logprob());
  EXPECT_EQ(tail.tokens(3).logprob(), -4);
}

}  // namespace
}  // namespace anyprec
