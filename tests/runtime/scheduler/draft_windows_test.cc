#include "runtime/scheduler/draft_windows.h"

#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/runtime/scheduler/scheduler_world.h"

namespace anyprec {
namespace {

TEST(DraftWindowsTest, DraftsAtLowBitsAndVerifiesInOneStep) {
  World world({.drafts = {.bits = {kSeedBits, kParentBits}}}, 64);
  std::mt19937 random(1);
  Request request = MakeRequest(RandomPrompt(random, 5), 12);
  request.precision.fixed_bits = 8;
  request.speculation = {.draft_tokens = 3, .draft_bits = 4};
  const Sequence& sequence = world.Add(std::move(request));
  world.Step();
  ASSERT_EQ(sequence.generated(), 1);
  for (int draft = 0; draft < 3; ++draft) {
    const StepPlan plan = world.Step();
    EXPECT_EQ(plan.steps[0].bits, 4);
    EXPECT_EQ(plan.steps[0].position, 5 + draft);
    EXPECT_EQ(static_cast<int>(sequence.draft.size()), draft + 1);
    EXPECT_EQ(sequence.generated(), 1);
  }
  const StepPlan plan = world.Step();
  EXPECT_EQ(plan.steps[0].bits, 8);
  EXPECT_EQ(plan.steps[0].rows, 4);
  EXPECT_EQ(plan.steps[0].num_logits, 4);
  EXPECT_TRUE(sequence.draft.empty());
  EXPECT_GE(sequence.generated(), 2);
  EXPECT_EQ(sequence.draft_tokens, 3);
  EXPECT_EQ(sequence.accepted_draft_tokens, sequence.generated() - 2);
  EXPECT_EQ(sequence.pending_rows(), 1);
  world.RunAll();
}

TEST(DraftWindowsTest, AcceptsWhatTheAnswerBeginsWith) {
  const std::vector<TokenId> draft = {7, 8, 9};
  EXPECT_EQ(AcceptedDrafts(draft, {5}), 0);
  EXPECT_EQ(AcceptedDrafts(draft, {7, 5}), 1);
  EXPECT_EQ(AcceptedDrafts(draft, {7, 8, 9, 5}), 3);
  // It ended with a draft.
  EXPECT_EQ(AcceptedDrafts(draft, {7, 8}), 2);
}

TEST(DraftWindowsTest, AnAnswerThatEndsWithADraftIsNoRejection) {
  BlockPool pool(8, 4);
  StepCostModel costs;
  // Drafts at 3 bits pay as long as they are believed to be right.
  for (const int rows : {1, 8}) {
    costs.Measure({Phase::kDecode, 3, rows}, absl::Milliseconds(1));
    costs.Measure({Phase::kDecode, 8, rows}, absl::Milliseconds(4));
  }
  DraftWindows windows({.speculate = true, .bits = {3, 8}}, pool, costs);
  std::mt19937 random(1);
  Sequence sequence(1, MakeRequest(RandomPrompt(random, 5), 20), 3, 8,
                    absl::FromUnixSeconds(1000));
  sequence.next_bits = 8;
  Sequence* const decoding[] = {&sequence};
  for (int i = 0; i < 200; ++i) {
    windows.Open(decoding, 0);
    ASSERT_GE(sequence.draft_goal, 1) << "given up after " << i;
    sequence.draft.assign(sequence.draft_goal, 7);
    windows.Close(sequence, {7});
    EXPECT_EQ(sequence.accepted_draft_tokens, i + 1);
  }
}

TEST(DraftWindowsTest, NeverDraftsBeyondTheAnswersEnd) {
  World world({.drafts = {.bits = {kSeedBits, kParentBits}}}, 64);
  std::mt19937 random(1);
  Request request = MakeRequest(RandomPrompt(random, 5), 3);
  request.speculation = {.draft_tokens = 8, .draft_bits = 3};
  const Sequence& sequence = world.Add(std::move(request));
  world.Step();
  world.Step();
  EXPECT_EQ(sequence.draft_goal, 1);
  world.RunAll();
}

TEST(DraftWindowsTest, WhoLeavesItToTheSchedulerDraftsTogether) {
  World world({.max_sequences = 4,
               .drafts = {.speculate = true, .bits = {kSeedBits, kParentBits}}},
              256);
  std::mt19937 random(1);
  const Sequence& first = world.Add(MakeRequest(RandomPrompt(random, 5), 100));
  world.Step();
  world.Step();
  ASSERT_EQ(first.draft.size(), 1u);
  // One that comes in the middle of a window decodes plainly until it ends.
  const Sequence& second = world.Add(MakeRequest(RandomPrompt(random, 5), 100));
  world.Step();
  while (first.draft_goal > 0) {
    EXPECT_EQ(second.draft_goal, 0);
    world.Step();
  }
  world.Step();
  EXPECT_EQ(first.draft.size(), 1u);
  EXPECT_EQ(second.draft.size(), 1u);
  EXPECT_EQ(first.draft_goal, second.draft_goal);
  world.RunAll();
}

TEST(DraftWindowsTest, WhoSaysAtHowManyBitsHoldsNobodyBack) {
  World world({.max_sequences = 4,
               .drafts = {.speculate = true, .bits = {kSeedBits, kParentBits}}},
              256);
  std::mt19937 random(1);
  Request request = MakeRequest(RandomPrompt(random, 5), 100);
  request.speculation = {.draft_bits = 3};
  const Sequence& alone = world.Add(std::move(request));
  world.Step();
  const Sequence& other = world.Add(MakeRequest(RandomPrompt(random, 5), 100));
  world.Step();
  ASSERT_EQ(other.generated(), 1);
  ASSERT_EQ(alone.draft.size(), 1u);
  world.Step();
  EXPECT_EQ(alone.draft.size(), 2u);
  EXPECT_EQ(other.draft.size(), 1u);
  world.RunAll();
}

}  // namespace
}  // namespace anyprec
