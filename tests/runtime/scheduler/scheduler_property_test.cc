// Whatever happens, nothing is lost and every row is computed as it was.
#include <algorithm>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/runtime/scheduler/scheduler_world.h"

namespace anyprec {
namespace {

// Any mix of lengths, precisions, priorities, deadlines and cancellations, with
// a pool so small that preemption is common, and prompts that begin alike.
class SchedulerPropertyTest : public testing::TestWithParam<int> {};

TEST_P(SchedulerPropertyTest, LosesNothingAndComputesEachRowAsItWas) {
  std::mt19937 random(GetParam());
  const int num_blocks = 12 + static_cast<int>(random() % 40);
  const SchedulerOptions options = {
      .max_sequences = 1 + static_cast<int>(random() % 12),
      .prefill_chunk_tokens = 1 + static_cast<int>(random() % 40),
      .max_prompt_logit_rows = 1 + static_cast<int>(random() % 40),
      .drafts = {.speculate = random() % 2 == 0,
                 .bits = {kSeedBits, kParentBits}}};
  World world(options, num_blocks);
  const int longest = num_blocks * kBlockTokens;
  std::vector<std::vector<TokenId>> beginnings;
  for (int i = 0; i < 3; ++i) {
    beginnings.push_back(RandomPrompt(random, longest));
  }
  int added = 0;
  std::set<uint64_t> cancelled;
  const auto add = [&] {
    const int prompt = 1 + static_cast<int>(random() % (longest / 2));
    std::vector<TokenId> tokens = RandomPrompt(random, prompt);
    const size_t alike = random() % (tokens.size() + 1);
    std::copy_n(beginnings[random() % beginnings.size()].begin(), alike,
                tokens.begin());
    Request request =
        MakeRequest(std::move(tokens), 1 + static_cast<int>(random() % 30));
    if (random() % 8 == 0) {
      request.stopping.max_tokens = 0;
      request.prompt_logprobs = true;
    }
    if (!world.scheduler()
             .CheckFits(prompt, request.stopping.max_tokens)
             .ok()) {
      return;
    }
    request.priority = static_cast<int>(random() % 3);
    if (random() % 2 == 0) {
      request.precision.fixed_bits = 3 + static_cast<int>(random() % 6);
    } else {
      request.precision.min_bits = 3 + static_cast<int>(random() % 3);
      if (random() % 2 == 0) {
        request.precision.slo.tpot =
            absl::Milliseconds(static_cast<int>(random() % 60));
      }
      if (random() % 2 == 0) {
        request.precision.slo.ttft =
            absl::Milliseconds(static_cast<int>(random() % 300));
      }
      if (random() % 2 == 0) {
        request.deadline =
            world.now() + absl::Milliseconds(static_cast<int>(random() % 900));
      }
    }
    if (random() % 2 == 0) {
      SpeculationSpec& speculation = request.speculation.emplace();
      if (random() % 2 == 0) speculation.draft_tokens = random() % 5;
      if (random() % 2 == 0) speculation.draft_bits = 3 + random() % 3;
    }
    world.Add(std::move(request));
    ++added;
  };
  for (int step = 0; step < 300; ++step) {
    for (int n = static_cast<int>(random() % 3); n > 0; --n) add();
    if (world.live().empty()) continue;
    if (random() % 10 == 0) {
      auto victim = world.live().begin();
      std::advance(victim, random() % world.live().size());
      cancelled.insert(victim->first);
      world.End(victim->second.get());
      continue;
    }
    ASSERT_FALSE(world.Step().empty());
    if (HasFatalFailure()) return;
  }
  world.RunAll();
  ASSERT_EQ(static_cast<int>(world.ended().size()), added);
  for (const auto& [id, sequence] : world.ended()) {
    if (cancelled.contains(id)) continue;
    ASSERT_EQ(sequence->generated(), sequence->request.stopping.max_tokens);
    if (sequence->generated() == 0) continue;
    ASSERT_EQ(sequence->tokens, Expected(*sequence)) << id;
    if (!sequence->request.precision.fixed_bits.has_value()) continue;
    for (const int bits : sequence->row_bits) {
      ASSERT_EQ(bits, *sequence->request.precision.fixed_bits);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SchedulerPropertyTest, testing::Range(0, 24));

}  // namespace
}  // namespace anyprec
