#include "server/client/generation_output.h"

#include <gtest/gtest.h>

namespace anyprec {
namespace {

v1::GenerateResponse Sample() {
  v1::GenerateResponse sample;
  sample.set_text("hi");
  sample.add_tokens()->set_id(7);
  sample.add_tokens()->set_id(8);
  sample.mutable_prompt()->set_prompt_tokens(5);
  v1::Finish& finish = *sample.mutable_finish();
  finish.set_reason(v1::FINISH_REASON_LENGTH);
  finish.mutable_usage()->set_completion_tokens(2);
  finish.mutable_timings()->set_ttft_ms(21);
  finish.mutable_timings()->set_tpot_ms(4);
  const auto add = [](auto* count, int bits, int tokens) {
    count->set_bits(bits);
    count->set_tokens(tokens);
  };
  add(finish.add_tokens_by_bits(), 4, 2);
  add(finish.add_prompt_tokens_by_bits(), 3, 4);
  add(finish.add_prompt_tokens_by_bits(), 4, 1);
  return sample;
}

TEST(GenerationOutputTest, OneSampleIsOneFlatObject) {
  const nlohmann::json json = AnswerToJson({Sample()}, grpc::Status::OK);
  EXPECT_EQ(json["text"], "hi");
  EXPECT_EQ(json["tokens"], 2);
  EXPECT_EQ(json["prompt_tokens"], 5);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["bits"].dump(), R"({"4":2})");
  EXPECT_EQ(json["prompt_bits"].dump(), R"({"3":4,"4":1})");
  EXPECT_EQ(json["ttft_ms"], 21);
  EXPECT_EQ(json["tokens_per_second"], 250);
  EXPECT_EQ(json["token_ids"].dump(), "[7,8]");
  EXPECT_FALSE(json.contains("logprobs"));
  EXPECT_FALSE(json.contains("error"));
}

TEST(GenerationOutputTest, SeveralSamplesAreAList) {
  const nlohmann::json json =
      AnswerToJson({Sample(), Sample()}, grpc::Status::OK);
  EXPECT_EQ(json["samples"].size(), 2u);
}

TEST(GenerationOutputTest, AFailureKeepsTheTextThatCame) {
  const nlohmann::json json = AnswerToJson(
      {Sample()}, grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "late"));
  EXPECT_EQ(json["text"], "hi");
  EXPECT_EQ(json["error"]["code"], "DEADLINE_EXCEEDED");
  EXPECT_EQ(json["error"]["message"], "late");
}

TEST(GenerationOutputTest, SummaryNamesTokensBitsAndSpeed) {
  EXPECT_EQ(SummaryLine(Sample()),
            "2 tokens at 4 bits after a prompt at 3 (4), 4 (1) bits, "
            "250.0 tokens/s, the first after 21.0 ms");
}

TEST(GenerationOutputTest, AnswersOfOneTokenHaveASpeedToo) {
  v1::Finish finish;
  finish.mutable_usage()->set_completion_tokens(1);
  finish.mutable_timings()->set_total_ms(20);
  EXPECT_EQ(TokensPerSecond(finish), 50);
  EXPECT_EQ(TokensPerSecond(v1::Finish()), 0);
}

}  // namespace
}  // namespace anyprec
