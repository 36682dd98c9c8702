#include "server/client/generation_flags.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace anyprec {
namespace {

v1::GenerateRequest Parse(const std::vector<std::string>& arguments) {
  GenerationFlags generation;
  FlagSet flags;
  AddGenerationFlags(generation, flags);
  const auto words = flags.Parse(arguments);
  EXPECT_TRUE(words.ok()) << words.status();
  return ToRequest(generation);
}

TEST(GenerationFlagsTest, WithoutFlagsEveryChoiceIsTheServers) {
  const v1::GenerateRequest request = Parse({});
  EXPECT_FALSE(request.precision().has_fixed_bits());
  EXPECT_FALSE(request.precision().slo().has_deadline_ms());
  EXPECT_FALSE(request.sampling().has_temperature());
  EXPECT_FALSE(request.sampling().has_seed());
  EXPECT_FALSE(request.stopping().has_max_tokens());
  EXPECT_FALSE(request.has_logprobs());
}

TEST(GenerationFlagsTest, EveryFlagReachesItsField) {
  const v1::GenerateRequest request = Parse({"--bits=3",
                                             "--min_bits=4",
                                             "--max_bits=5",
                                             "--ttft_ms=10",
                                             "--tpot_ms=0.5",
                                             "--deadline_ms=900",
                                             "--priority=-1",
                                             "--max_tokens=0",
                                             "--stop=a",
                                             "--stop=b",
                                             "--ignore_eos",
                                             "--temperature=0",
                                             "--top_k=7",
                                             "--top_p=0.5",
                                             "--min_p=0.25",
                                             "--repetition_penalty=1.5",
                                             "--presence_penalty=-1",
                                             "--frequency_penalty=2",
                                             "--seed=0",
                                             "--n=2",
                                             "--logprobs=0"});
  EXPECT_EQ(request.precision().fixed_bits(), 3);
  EXPECT_EQ(request.precision().min_bits(), 4);
  EXPECT_EQ(request.precision().max_bits(), 5);
  EXPECT_EQ(request.precision().slo().ttft_ms(), 10);
  EXPECT_EQ(request.precision().slo().tpot_ms(), 0.5);
  EXPECT_EQ(request.precision().slo().deadline_ms(), 900);
  EXPECT_EQ(request.precision().priority(), -1);
  EXPECT_TRUE(request.stopping().has_max_tokens());
  EXPECT_EQ(request.stopping().max_tokens(), 0);
  ASSERT_EQ(request.stopping().stop_size(), 2);
  EXPECT_EQ(request.stopping().stop(1), "b");
  EXPECT_TRUE(request.stopping().ignore_eos());
  EXPECT_TRUE(request.sampling().has_temperature());
  EXPECT_EQ(request.sampling().temperature(), 0);
  EXPECT_EQ(request.sampling().top_k(), 7);
  EXPECT_EQ(request.sampling().top_p(), 0.5f);
  EXPECT_EQ(request.sampling().min_p(), 0.25f);
  EXPECT_EQ(request.sampling().repetition_penalty(), 1.5f);
  EXPECT_EQ(request.sampling().presence_penalty(), -1);
  EXPECT_EQ(request.sampling().frequency_penalty(), 2);
  EXPECT_TRUE(request.sampling().has_seed());
  EXPECT_EQ(request.sampling().n(), 2);
  EXPECT_TRUE(request.has_logprobs());
}

}  // namespace
}  // namespace anyprec
