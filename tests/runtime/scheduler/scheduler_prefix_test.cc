// Prompts that begin alike, and the prefix cache.
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/runtime/scheduler/scheduler_world.h"

namespace anyprec {
namespace {

// A prompt of three whole blocks and a token.
std::vector<TokenId> ThreeBlocks() {
  std::vector<TokenId> prompt;
  for (int i = 0; i <= 3 * kBlockTokens; ++i) prompt.push_back(i);
  return prompt;
}

Request FixedRequest(int bits) {
  Request request = MakeRequest(ThreeBlocks(), 2);
  request.precision.fixed_bits = bits;
  return request;
}

TEST(SchedulerPrefixTest, AFixedPrecisionFindsItsOwnRowsOnly) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 5}, 64);
  for (const auto& [bits, cached] : std::vector<std::pair<int, int>>{
           {5, 0}, {6, 0}, {4, 0}, {5, 12}, {6, 12}}) {
    const uint64_t id = world.Add(FixedRequest(bits)).id;
    world.RunAll();
    const Sequence& sequence = *world.ended().at(id);
    EXPECT_EQ(sequence.cached_prompt_rows, cached) << bits;
    EXPECT_EQ(sequence.tokens, Expected(sequence)) << bits;
  }
  EXPECT_EQ(world.scheduler().num_prefix_hits(), 24);
  EXPECT_EQ(world.scheduler().num_prefix_queries(), 5 * 13);
}

TEST(SchedulerPrefixTest, AnAutomaticPrecisionFindsNoLowerRowsThanItsOwn) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  world.Add(FixedRequest(4));
  world.RunAll();
  // Nothing presses: 8 bits are to be had, and 4 would be worse.
  uint64_t id = world.Add(MakeRequest(ThreeBlocks(), 2)).id;
  world.RunAll();
  EXPECT_EQ(world.ended().at(id)->cached_prompt_rows, 0);
  // What is better than it would get is taken, too.
  world.scheduler().SetLimits({.min_bits = 3, .max_bits = 6});
  id = world.Add(MakeRequest(ThreeBlocks(), 2)).id;
  world.RunAll();
  const Sequence& sequence = *world.ended().at(id);
  EXPECT_EQ(sequence.cached_prompt_rows, 12);
  EXPECT_EQ(sequence.row_bits[0], 8);
  EXPECT_EQ(sequence.row_bits[12], 6);
  EXPECT_EQ(sequence.tokens, Expected(sequence));
  // Its own ceiling is none of the operator's.
  Request low = MakeRequest(ThreeBlocks(), 2);
  low.precision.max_bits = 7;
  id = world.Add(std::move(low)).id;
  world.RunAll();
  EXPECT_EQ(world.ended().at(id)->cached_prompt_rows, 0);
}

TEST(SchedulerPrefixTest, PromptsAlikeShareTheirBlocksWhileTheyRun) {
  World world({.max_sequences = 8, .prefill_chunk_tokens = 128}, 64);
  for (int i = 0; i < 8; ++i) world.Add(FixedRequest(5));
  world.Step();
  // All came at once and were computed eight times; three blocks are left, and
  // one each.
  EXPECT_EQ(world.pool().num_held(), 3 + 8);
  world.RunAll();
}

TEST(SchedulerPrefixTest, AScoredPromptIsComputedWhole) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  world.Add(FixedRequest(5));
  world.RunAll();
  Request scored = FixedRequest(5);
  scored.stopping.max_tokens = 0;
  scored.prompt_logprobs = true;
  world.Add(std::move(scored));
  EXPECT_EQ(world.Step().logit_rows.size(), 13u);
}

TEST(SchedulerPrefixTest, WhatIsKeptGivesWayToWhoRuns) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 6);
  std::mt19937 random(1);
  world.Add(FixedRequest(5));
  world.RunAll();
  world.Add(MakeRequest(RandomPrompt(random, 20), 5));  // all six blocks
  world.RunAll();
  const uint64_t id = world.Add(FixedRequest(5)).id;
  world.RunAll();
  EXPECT_EQ(world.ended().at(id)->cached_prompt_rows, 0);
}

TEST(SchedulerPrefixTest, ThePolicyExpectsWhatIsKept) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 16}, 1024);
  std::mt19937 random(1);
  const std::vector<TokenId> prompt = RandomPrompt(random, 640);
  const auto add = [&] {
    Request request = MakeRequest(prompt, 2);
    request.precision.slo.ttft = absl::Milliseconds(100);
    return world.Add(std::move(request)).id;
  };
  // Forty times 64 rows in 40 ms each are no matter of 100 ms.
  const uint64_t cold = add();
  EXPECT_LT(world.Step().steps[0].bits, 8);
  world.RunAll();
  EXPECT_EQ(world.ended().at(cold)->cached_prompt_rows, 0);
  Request fixed = MakeRequest(prompt, 2);
  fixed.precision.fixed_bits = 8;
  world.Add(std::move(fixed));
  world.RunAll();
  world.Advance(absl::Hours(1));  // what was served is forgotten
  const uint64_t warm = add();
  EXPECT_EQ(world.Step().steps[0].bits, 8);
  world.RunAll();
  EXPECT_EQ(world.ended().at(warm)->cached_prompt_rows, 636);
}

}  // namespace
}  // namespace anyprec
