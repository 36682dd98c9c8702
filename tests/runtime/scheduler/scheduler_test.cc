#include "runtime/scheduler/scheduler.h"

#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/runtime/scheduler/scheduler_world.h"

namespace anyprec {
namespace {

TEST(SchedulerTest, PrefillsInChunksAndDecodesInEveryStep) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 8}, 64);
  std::mt19937 random(1);
  Sequence& first = world.Add(MakeRequest(RandomPrompt(random, 5), 10));
  world.Step();
  EXPECT_EQ(first.generated(), 1);
  Sequence& second = world.Add(MakeRequest(RandomPrompt(random, 20), 10));
  for (const int computed : {8, 16, 20}) {
    const int before = first.generated();
    world.Step();
    EXPECT_EQ(first.generated(), before + 1);
    EXPECT_EQ(second.computed, computed);
  }
  EXPECT_EQ(second.generated(), 1);
}

TEST(SchedulerTest, SharesTheChunkBudgetAmongPrompts) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 10}, 64);
  std::mt19937 random(1);
  Sequence& first = world.Add(MakeRequest(RandomPrompt(random, 6), 2));
  Sequence& second = world.Add(MakeRequest(RandomPrompt(random, 6), 2));
  world.Step();
  EXPECT_EQ(first.computed, 6);
  EXPECT_EQ(second.computed, 4);
}

TEST(SchedulerTest, AdmitsByPriorityThenDeadlineThenArrival) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  std::mt19937 random(1);
  const auto add = [&](int priority, absl::Duration deadline) {
    Request request = MakeRequest(RandomPrompt(random, 3), 1);
    request.priority = priority;
    request.deadline = world.now() + deadline;
    return world.Add(std::move(request)).id;
  };
  const uint64_t late = add(0, absl::Seconds(20));
  const uint64_t none = add(0, absl::InfiniteDuration());
  const uint64_t soon = add(0, absl::Seconds(1));
  const uint64_t also_late = add(0, absl::Seconds(20));
  const uint64_t high = add(1, absl::InfiniteDuration());
  std::vector<uint64_t> order;
  while (!world.live().empty()) {
    const StepPlan plan = world.Step();
    ASSERT_EQ(plan.steps.size(), 1u);
    order.push_back(plan.steps[0].sequence->id);
  }
  EXPECT_EQ(order, (std::vector<uint64_t>{high, soon, late, also_late, none}));
}

TEST(SchedulerTest, UrgentWorkDoesNotStarveARequestWithoutDeadline) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  std::mt19937 random(1);
  const uint64_t patient =
      world.Add(MakeRequest(RandomPrompt(random, 3), 1)).id;
  // More urgent work than the engine can do, for ever.
  int steps = 0;
  while (world.live().contains(patient)) {
    ASSERT_LT(++steps, 10000);
    for (int i = 0; i < 2; ++i) {
      Request urgent = MakeRequest(RandomPrompt(random, 3), 1);
      urgent.deadline = world.now() + absl::Seconds(5);
      world.Add(std::move(urgent));
    }
    world.Step();
  }
  // Due kPatience after its submission, it yields to work due before that.
  EXPECT_LT(
      world.ended().at(patient)->first_scheduled - absl::FromUnixSeconds(1000),
      2 * kPatience);
}

TEST(SchedulerTest, ImportantWorkDoesNotStarveWhatWaitsLongEnough) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  std::mt19937 random(1);
  const uint64_t patient =
      world.Add(MakeRequest(RandomPrompt(random, 3), 1)).id;
  int steps = 0;
  while (world.live().contains(patient)) {
    ASSERT_LT(++steps, 100000);
    for (int i = 0; i < 2; ++i) {
      Request important = MakeRequest(RandomPrompt(random, 3), 1);
      important.priority = 2;
      world.Add(std::move(important));
    }
    world.Step();
  }
  // Two levels are worth twice kPatience; what came before that goes first,
  // twice as much as the engine can do.
  const absl::Duration waited =
      world.ended().at(patient)->first_scheduled - absl::FromUnixSeconds(1000);
  EXPECT_GT(waited, 2 * kPatience);
  EXPECT_LT(waited, 5 * kPatience);
}

TEST(SchedulerTest, AChunkShrinksForTheSakeOfAnAnswersPace) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 256}, 1024);
  std::mt19937 random(1);
  Request paced = MakeRequest(RandomPrompt(random, 3), 50);
  paced.precision.fixed_bits = 8;
  paced.precision.slo.tpot = absl::Milliseconds(60);
  Sequence& first = world.Add(std::move(paced));
  world.Step();
  Sequence& second = world.Add(MakeRequest(RandomPrompt(random, 1000), 2));
  world.Step();
  EXPECT_EQ(first.generated(), 2);
  // 64 rows take 40 ms, the decode 8 ms, and 57 ms are left.
  EXPECT_EQ(second.computed, 64);
  // An answer that is ahead lends its time.
  for (int step = 0; step < 3; ++step) world.Step();
  EXPECT_GT(second.computed, 4 * 64);
  // One that can only be late stops no prompt.
  world.Advance(absl::Seconds(10));
  const int before = second.computed;
  world.Step();
  EXPECT_EQ(second.computed, before + 256);
}

TEST(SchedulerTest, APromptThatHasTimeWaitsForAnAnswerThatHasNone) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 256}, 1024);
  std::mt19937 random(1);
  Request paced = MakeRequest(RandomPrompt(random, 3), 50);
  paced.precision.fixed_bits = 8;
  // A chunk of up to 64 rows and the decode take 48 ms, a step in truth 10 ms:
  // there is time for a chunk every few steps.
  paced.precision.slo.tpot = absl::Milliseconds(20);
  Sequence& answer = world.Add(std::move(paced));
  world.Step();
  Request patient = MakeRequest(RandomPrompt(random, 100), 2);
  patient.precision.slo.ttft = absl::Seconds(1);
  Sequence& prompt = world.Add(std::move(patient));
  world.Step();
  EXPECT_EQ(answer.generated(), 2);
  EXPECT_EQ(prompt.computed, 0);
  int steps = 1;
  while (prompt.computed == 0) {
    world.Step();
    ASSERT_LT(++steps, 8);
  }
  EXPECT_EQ(prompt.computed, 64);

  Request urgent = MakeRequest(RandomPrompt(random, 100), 2);
  urgent.precision.slo.ttft = absl::Milliseconds(140);
  const Sequence& hurried = world.Add(std::move(urgent));
  world.Step();
  EXPECT_GE(hurried.computed, 32);
}

// An answer that has 4 ms more than it needs for each token, and a prompt whose
// least chunk takes 40 ms.
Sequence& AddTightAnswer(World& world, std::mt19937& random) {
  Request paced = MakeRequest(RandomPrompt(random, 3), 500);
  paced.precision.fixed_bits = 8;
  paced.precision.slo.tpot = absl::Milliseconds(14);
  Sequence& answer = world.Add(std::move(paced));
  world.Step();
  return answer;
}

TEST(SchedulerTest, APromptThatCanOnlyBeLatePressesOnNobody) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 256}, 1024);
  std::mt19937 random(1);
  AddTightAnswer(world, random);
  Request late = MakeRequest(RandomPrompt(random, 100), 2);
  late.precision.slo.ttft = absl::Milliseconds(30);
  Sequence& prompt = world.Add(std::move(late));
  for (int step = 0; step < 5; ++step) world.Step();
  EXPECT_EQ(prompt.computed, 0);
  // It comes when the answer is ahead.
  for (int step = 0; step < 100 && prompt.computed == 0; ++step) world.Step();
  EXPECT_GT(prompt.computed, 0);
}

TEST(SchedulerTest, APromptWithoutATargetWaitsForTime) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 256}, 1024);
  std::mt19937 random(1);
  AddTightAnswer(world, random);
  Sequence& prompt = world.Add(MakeRequest(RandomPrompt(random, 100), 2));
  for (int step = 0; step < 5; ++step) world.Step();
  EXPECT_EQ(prompt.computed, 0);
  for (int step = 0; step < 100 && prompt.computed == 0; ++step) world.Step();
  EXPECT_GT(prompt.computed, 0);
}

TEST(SchedulerTest, AShortChunkIsOfOnePrecision) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 256}, 1024);
  std::mt19937 random(1);
  const auto add = [&](int bits) -> Sequence& {
    Request request = MakeRequest(RandomPrompt(random, 20), 2);
    request.precision.fixed_bits = bits;
    return world.Add(std::move(request));
  };
  Request paced = MakeRequest(RandomPrompt(random, 3), 50);
  paced.precision.slo.tpot = absl::Milliseconds(60);
  world.Add(std::move(paced));
  world.Step();
  const Sequence& first = add(5);
  const Sequence& other = add(6);
  const Sequence& alike = add(5);
  world.Step();
  EXPECT_EQ(first.computed, 20);
  EXPECT_EQ(other.computed, 0);
  EXPECT_EQ(alike.computed, 20);
  world.Step();
  EXPECT_EQ(other.computed, 20);
}

TEST(SchedulerTest, AnAnswerWithoutBlocksKeepsNoPromptWaiting) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 64}, 8);
  std::mt19937 random(1);
  // The answer has no time for a chunk, and soon no block for its next row: the
  // prompt, which ranks first, has them.
  Request prompt = MakeRequest(RandomPrompt(random, 23), 2);
  prompt.priority = 1;
  Request paced = MakeRequest(RandomPrompt(random, 3), 20);
  paced.precision.slo.tpot = absl::Milliseconds(12);
  world.Add(std::move(paced));
  world.Step();
  world.Add(std::move(prompt));
  world.RunAll();
}

TEST(SchedulerTest, LimitsHoldFromTheNextStepOn) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  std::mt19937 random(1);
  Sequence& sequence = world.Add(MakeRequest(RandomPrompt(random, 3), 9));
  EXPECT_EQ(world.Step().steps[0].bits, 8);
  world.scheduler().SetLimits({.min_bits = 3, .max_bits = 5});
  EXPECT_EQ(world.Step().steps[0].bits, 5);
  EXPECT_EQ(world.scheduler().num_drops(), 1);
  world.scheduler().SetLimits({.min_bits = 3, .max_bits = 8});
  EXPECT_EQ(world.Step().steps[0].bits, 8);
  EXPECT_EQ(world.scheduler().num_raises(), 1);
  EXPECT_EQ(sequence.precision_changes, 2);
}

TEST(SchedulerTest, PreemptsTheLowestRankWhenBlocksRunOut) {
  // Two sequences of 8 + 8 tokens want 8 blocks; there are 6.
  World world({.max_sequences = 4, .prefill_chunk_tokens = 64}, 6);
  std::mt19937 random(1);
  Sequence& first = world.Add(MakeRequest(RandomPrompt(random, 7), 9));
  Sequence& second = world.Add(MakeRequest(RandomPrompt(random, 7), 9));
  const uint64_t first_id = first.id;
  const uint64_t second_id = second.id;
  while (world.live().contains(first_id)) {
    world.Step();
    EXPECT_FALSE(world.ended().contains(second_id));
  }
  EXPECT_GT(world.scheduler().num_preemptions(), 0);
  world.RunAll();
  for (const auto& [id, sequence] : world.ended()) {
    EXPECT_EQ(sequence->tokens, Expected(*sequence)) << id;
  }
}

TEST(SchedulerTest, HigherPriorityKeepsItsBlocks) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 64}, 6);
  std::mt19937 random(1);
  const uint64_t low = world.Add(MakeRequest(RandomPrompt(random, 7), 9)).id;
  Request urgent = MakeRequest(RandomPrompt(random, 7), 9);
  urgent.priority = 1;
  const uint64_t high = world.Add(std::move(urgent)).id;
  while (world.live().contains(high)) {
    world.Step();
    EXPECT_TRUE(world.live().contains(low));
  }
  EXPECT_GT(world.scheduler().num_preemptions(), 0);
  world.RunAll();
}

TEST(SchedulerTest, RefusesWhatTheWholePoolCannotHold) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 64}, 6);
  EXPECT_TRUE(world.scheduler().CheckFits(20, 5).ok());  // 24 rows, 6 blocks
  const absl::Status refused = world.scheduler().CheckFits(20, 6);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("7 blocks"), refused.message().npos);
}

TEST(SchedulerTest, ASequenceThatFillsThePoolEnds) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 64}, 6);
  std::mt19937 random(1);
  world.Add(MakeRequest(RandomPrompt(random, 20), 5));
  world.Add(MakeRequest(RandomPrompt(random, 1), 24));
  world.RunAll();
}

TEST(SchedulerTest, LimitsLogitRowsOfScoredPrompts) {
  World world({.max_sequences = 4,
               .prefill_chunk_tokens = 64,
               .max_prompt_logit_rows = 5},
              64);
  std::mt19937 random(1);
  Request request = MakeRequest(RandomPrompt(random, 12), 0);
  request.prompt_logprobs = true;
  world.Add(std::move(request));
  for (const size_t rows : {5, 5, 2}) {
    EXPECT_EQ(world.Step().logit_rows.size(), rows);
  }
  EXPECT_TRUE(world.live().empty());
}

TEST(SchedulerTest, RecomputesRowsAtThePrecisionTheyHad) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 5}, 64);
  std::mt19937 random(1);
  Sequence& sequence = world.Add(MakeRequest(RandomPrompt(random, 3), 9));
  for (int step = 0; step < 6; ++step) world.Step();
  ASSERT_EQ(sequence.generated(), 6);
  // What a preemption leaves of a sequence that met four precisions.
  const std::vector<uint8_t> bits = {8, 8, 8, 6, 6, 5, 5, 5};
  sequence.row_bits = bits;
  sequence.computed = 0;
  struct Part {
    Phase phase;
    int bits;
    int rows;
  };
  for (const Part part : {Part{Phase::kPrefill, 8, 3},
                          {Phase::kDecode, 6, 2},
                          {Phase::kDecode, 5, 3},
                          {Phase::kDecode, 8, 1}}) {
    const StepPlan plan = world.Step();
    ASSERT_EQ(plan.steps.size(), 1u);
    EXPECT_EQ(plan.steps[0].phase, part.phase);
    EXPECT_EQ(plan.steps[0].bits, part.bits);
    EXPECT_EQ(plan.steps[0].rows, part.rows);
    EXPECT_EQ(plan.steps[0].samples, part.bits == 8 && part.rows == 1);
  }
}

}  // namespace
}  // namespace anyprec
