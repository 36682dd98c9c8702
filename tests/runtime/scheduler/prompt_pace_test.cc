#include "runtime/scheduler/prompt_pace.h"

#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);
constexpr int kMaxRows = 512;

// A chunk takes 8 ms and 40 us a row, as on a GPU that reads all weights once.
StepCostModel Costs() {
  StepCostModel costs;
  for (int rows = 32; rows <= kMaxRows; rows += 32) {
    costs.Measure({Phase::kPrefill, 4, rows},
                  8 * kMs + rows * absl::Microseconds(40));
  }
  return costs;
}

TEST(PromptPaceTest, WithoutABudgetChunksAreWhole) {
  const StepCostModel costs = Costs();
  PromptPace pace(costs, 2 * kMs, absl::InfiniteDuration(), kMaxRows);
  EXPECT_EQ(pace.ChunkRows(4), kMaxRows);
  EXPECT_EQ(pace.RowTime(4), 28.48 * kMs / kMaxRows);
}

TEST(PromptPaceTest, ChunksFitBetweenTwoTokens) {
  const StepCostModel costs = Costs();
  // 19 - 2 ms are left: 9 of them for rows.
  PromptPace pace(costs, 2 * kMs, 20 * kMs, kMaxRows);
  EXPECT_EQ(pace.ChunkRows(4), 224);
  EXPECT_EQ(pace.RowTime(4), 16.96 * kMs / 224);
  PromptPace roomy(costs, 2 * kMs, 40 * kMs, kMaxRows);
  EXPECT_EQ(roomy.ChunkRows(4), kMaxRows);
}

// Up to 64 rows weights are decoded as they are multiplied; for more they are
// unpacked first, which takes 7 ms.
TEST(PromptPaceTest, OfTheChunksThatFitTheCheapestIsTaken) {
  StepCostModel costs;
  for (int rows = 32; rows <= kMaxRows; rows += 32) {
    costs.Measure({Phase::kPrefill, 4, rows},
                  rows <= 64 ? rows * absl::Microseconds(35)
                             : 7 * kMs + rows * absl::Microseconds(20));
  }
  // 17 ms are left, enough for 480 rows at 34.6 us.
  PromptPace roomy(costs, 2 * kMs, 20 * kMs, kMaxRows);
  EXPECT_EQ(roomy.ChunkRows(4), 480);
  // 12 ms would do for 256 at 47 us.
  PromptPace tight(costs, 7 * kMs, 20 * kMs, kMaxRows);
  EXPECT_EQ(tight.ChunkRows(4), 64);
  EXPECT_EQ(tight.RowTime(4), absl::Microseconds(35));
  EXPECT_TRUE(tight.ChunkFits(4));
}

TEST(PromptPaceTest, AChunkHasALeastSize) {
  const StepCostModel costs = Costs();
  for (const absl::Duration budget :
       {5 * kMs, absl::ZeroDuration(), -kMs, -absl::InfiniteDuration()}) {
    PromptPace pace(costs, 2 * kMs, budget, kMaxRows);
    EXPECT_EQ(pace.ChunkRows(4), kLeastChunkRows);
    PromptPace small(costs, 2 * kMs, budget, 7);
    EXPECT_EQ(small.ChunkRows(4), 7);
  }
}

TEST(PromptPaceTest, AChunkThatDoesNotFitWaitsUntilAnswersAreAhead) {
  const StepCostModel costs = Costs();
  PromptPace roomy(costs, 2 * kMs, 40 * kMs, kMaxRows);
  EXPECT_EQ(roomy.DecodeSteps(60 * kMs, 2.5), 3);
  PromptPace endless(costs, 2 * kMs, absl::InfiniteDuration(), kMaxRows);
  EXPECT_EQ(endless.DecodeSteps(60 * kMs, 2.5), 3);
  // Each step of 6 ms leaves 3.5 ms of 10: a chunk of 9.28 ms takes nearly
  // three.
  PromptPace tight(costs, 6 * kMs, 10 * kMs, kMaxRows);
  EXPECT_NEAR(tight.DecodeSteps(9.28 * kMs, 1), 9.28 / 3.5, 1e-6);
  // Answers that leave nothing leave a fiftieth.
  PromptPace none(costs, 20 * kMs, 10 * kMs, kMaxRows);
  EXPECT_NEAR(none.DecodeSteps(9.28 * kMs, 1), 9.28 / 0.2, 1e-6);
}

TEST(PromptPaceTest, WhatIsNotMeasuredTakesNoTime) {
  const StepCostModel none;
  PromptPace pace(none, 2 * kMs, 20 * kMs, kMaxRows);
  EXPECT_EQ(pace.ChunkRows(4), kMaxRows);
  EXPECT_EQ(pace.RowTime(4), absl::ZeroDuration());
}

}  // namespace
}  // namespace anyprec
