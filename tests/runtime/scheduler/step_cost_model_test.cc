#include "runtime/scheduler/step_cost_model.h"

#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);

RowCount Decode(int bits, int rows) { return {Phase::kDecode, bits, rows}; }
RowCount Prefill(int bits, int rows) { return {Phase::kPrefill, bits, rows}; }

// Durations made from doubles; their rounding is far below a nanosecond.
void ExpectNear(absl::Duration actual, absl::Duration expected) {
  EXPECT_LT(absl::AbsDuration(actual - expected), absl::Nanoseconds(10))
      << actual << " instead of " << expected;
}

void Observe(StepCostModel& costs, const RowCount& work, absl::Duration time) {
  costs.Observe({&work, 1}, time);
}

double Milliseconds(const StepCostModel& costs, const RowCount& work) {
  return absl::ToDoubleMilliseconds(costs.Predict(work));
}

TEST(StepCostModelTest, PredictsNothingBeforeAMeasurement) {
  const StepCostModel costs;
  EXPECT_EQ(costs.Predict(Decode(4, 1)), absl::ZeroDuration());
}

TEST(StepCostModelTest, InterpolatesBetweenMeasuredRows) {
  StepCostModel costs;
  costs.Measure(Decode(4, 9), 50 * kMs);
  costs.Measure(Decode(4, 1), 10 * kMs);
  ExpectNear(costs.Predict(Decode(4, 1)), 10 * kMs);
  ExpectNear(costs.Predict(Decode(4, 5)), 30 * kMs);
  ExpectNear(costs.Predict(Decode(4, 9)), 50 * kMs);
  ExpectNear(costs.Predict(Decode(4, 13)), 70 * kMs);
}

TEST(StepCostModelTest, FewerRowsThanMeasuredCostWhatTheFewestCost) {
  StepCostModel costs;
  costs.Measure(Prefill(4, 16), 10 * kMs);
  costs.Measure(Prefill(4, 64), 30 * kMs);
  ExpectNear(costs.Predict(Prefill(4, 3)), 10 * kMs);
}

TEST(StepCostModelTest, MoreRowsNeverCostLess) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 12 * kMs);  // noise: slower than 16 rows
  costs.Measure(Decode(4, 16), 10 * kMs);
  EXPECT_GE(costs.Predict(Decode(4, 1000)), 10 * kMs);
}

TEST(StepCostModelTest, AnUnmeasuredPrecisionLiesBetweenItsNeighbours) {
  StepCostModel costs;
  costs.Measure(Decode(3, 1), 10 * kMs);
  costs.Measure(Decode(8, 1), 20 * kMs);
  ExpectNear(costs.Predict(Decode(4, 1)), 12 * kMs);
  ExpectNear(costs.Predict(Decode(7, 1)), 18 * kMs);
  EXPECT_EQ(costs.Predict(Prefill(4, 1)), absl::ZeroDuration());
}

TEST(StepCostModelTest, BeyondTheMeasuredPrecisionsTimeIsInProportionToBits) {
  StepCostModel costs;
  costs.Measure(Decode(6, 1), 12 * kMs);
  ExpectNear(costs.Predict(Decode(3, 1)), 6 * kMs);
  ExpectNear(costs.Predict(Decode(8, 1)), 16 * kMs);
}

TEST(StepCostModelTest, BeyondItsOwnRowsAPrecisionFollowsItsNeighbours) {
  StepCostModel costs;
  costs.Measure(Prefill(4, 16), 10 * kMs);
  costs.Measure(Prefill(4, 128), 80 * kMs);
  costs.Measure(Prefill(8, 16), 20 * kMs);
  costs.Measure(Prefill(8, 128), 80 * kMs);
  // Of 6 bits a large chunk alone is known; an eighth and a quarter of its time
  // is what a small one takes at 4 and at 8 bits.
  costs.Measure(Prefill(6, 128), 100 * kMs);
  ExpectNear(costs.Predict(Prefill(6, 16)), 18750 * kMs / 1000);
  ExpectNear(costs.Predict(Prefill(6, 72)), 100 * kMs * (0.5625 + 0.625) / 2);
  ExpectNear(costs.Predict(Prefill(6, 128)), 100 * kMs);
  // And so does one that lies between it and others.
  ExpectNear(
      costs.Predict(Prefill(5, 16)),
      (costs.Predict(Prefill(4, 16)) + costs.Predict(Prefill(6, 16))) / 2);
  // A neighbour with a single point tells nothing: 3 bits follow 4, not 2.
  costs.Measure(Prefill(3, 64), 70 * kMs);
  costs.Measure(Prefill(2, 64), 70 * kMs);
  ExpectNear(costs.Predict(Prefill(3, 128)), 140 * kMs);
}

TEST(StepCostModelTest, SumsTheGroupsOfAStep) {
  StepCostModel costs;
  costs.Measure(Decode(3, 1), 3 * kMs);
  costs.Measure(Decode(8, 1), 8 * kMs);
  const std::vector<RowCount> step = {Decode(3, 1), Decode(8, 1)};
  ExpectNear(costs.Predict(step), 11 * kMs);
}

TEST(StepCostModelTest, GroupsOfAStepShareWhatIsReadOnce) {
  StepCostModel costs;
  costs.Measure(Decode(3, 1), 3 * kMs);
  costs.Measure(Decode(8, 1), 8 * kMs);
  costs.MeasureShared(2 * kMs);
  const std::vector<RowCount> step = {Decode(3, 1), Decode(8, 1)};
  ExpectNear(costs.Predict(step), 9 * kMs);
  ExpectNear(costs.Predict({step.data(), 1}), 3 * kMs);
  // Never less than the slowest alone.
  costs.MeasureShared(20 * kMs);
  ExpectNear(costs.Predict(step), 8 * kMs);
}

TEST(StepCostModelTest, EveryCachedTokenAddsTheSameAtAnyPrecision) {
  StepCostModel costs;
  costs.Measure(Decode(3, 1), 3 * kMs);
  costs.Measure(Decode(8, 1), 8 * kMs);
  costs.MeasureContext(Phase::kDecode, absl::Microseconds(2));
  for (const int bits : {3, 8}) {
    RowCount deep = Decode(bits, 1);
    deep.context = 1000;
    ExpectNear(costs.Predict(deep), costs.Predict(Decode(bits, 1)) + 2 * kMs);
  }
  // A first step far into a context is a measurement of its rows.
  RowCount deep = Decode(5, 16);
  deep.context = 1000;
  Observe(costs, deep, 12 * kMs);
  ExpectNear(costs.Predict(Decode(5, 16)), 10 * kMs);
}

TEST(StepCostModelTest, ShowsItsMeasurementsAndWhatBecameOfThem) {
  StepCostModel costs;
  costs.Measure(Prefill(4, 16), 10 * kMs);
  costs.Measure(Decode(8, 1), 20 * kMs);
  for (int i = 0; i < 100; ++i) Observe(costs, Decode(8, 1), 30 * kMs);
  const std::vector<StepCostPoint> points = costs.Points();
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].phase, Phase::kDecode);
  EXPECT_EQ(points[0].bits, 8);
  ExpectNear(points[0].measured, 20 * kMs);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(points[0].predicted), 30, 0.5);
  EXPECT_EQ(points[1].phase, Phase::kPrefill);
  EXPECT_EQ(points[1].rows, 16);
}

TEST(StepCostModelTest, FollowsWhatStepsReallyTake) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  for (int i = 0; i < 100; ++i) Observe(costs, Decode(4, 1), 15 * kMs);
  EXPECT_NEAR(Milliseconds(costs, Decode(4, 1)), 15, 0.1);
}

TEST(StepCostModelTest, ASlowdownIsTakenToMeetAllPrecisionsOfThePhase) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  costs.Measure(Decode(8, 1), 20 * kMs);
  costs.Measure(Prefill(4, 16), 10 * kMs);
  for (int i = 0; i < 100; ++i) Observe(costs, Decode(4, 1), 30 * kMs);
  // All but the fifth (in logarithms) that goes to the residual of 4 bits, part
  // of which is forgotten again.
  EXPECT_NEAR(Milliseconds(costs, Decode(8, 1)), 50, 4);
  ExpectNear(costs.Predict(Prefill(4, 16)), 10 * kMs);
  for (int i = 0; i < 100; ++i) Observe(costs, Decode(4, 1), 10 * kMs);
  EXPECT_NEAR(Milliseconds(costs, Decode(8, 1)), 20, 1);
}

TEST(StepCostModelTest, LearnsThatOnePrecisionAloneIsSlower) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  costs.Measure(Decode(8, 1), 20 * kMs);
  for (int i = 0; i < 500; ++i) {
    Observe(costs, Decode(4, 1), 10 * kMs);
    Observe(costs, Decode(8, 1), 30 * kMs);
  }
  // Forgetting at a tenth of the rate of learning, twice for each step of one
  // of the two, leaves a bias of a fifth of the error, shared by both.
  EXPECT_NEAR(Milliseconds(costs, Decode(4, 1)), 10, 1);
  EXPECT_NEAR(Milliseconds(costs, Decode(8, 1)), 30, 3);
}

TEST(StepCostModelTest, ForgetsWhyAPrecisionWasGivenUp) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  costs.Measure(Decode(8, 1), 20 * kMs);
  for (int i = 0; i < 500; ++i) {
    Observe(costs, Decode(4, 1), 10 * kMs);
    Observe(costs, Decode(8, 1), 30 * kMs);
  }
  for (int i = 0; i < 2000; ++i) Observe(costs, Decode(4, 1), 10 * kMs);
  EXPECT_NEAR(Milliseconds(costs, Decode(8, 1)), 20, 0.5);
}

TEST(StepCostModelTest, ARowCountThatWasMeasuredMovesAlone) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  costs.Measure(Decode(4, 16), 20 * kMs);
  const auto ratio = [&] {
    return Milliseconds(costs, Decode(4, 16)) /
           Milliseconds(costs, Decode(4, 1));
  };
  for (int i = 0; i < 30; ++i) Observe(costs, Decode(4, 16), 40 * kMs);
  EXPECT_GT(ratio(), 2.2);
}

TEST(StepCostModelTest, RowCountsBetweenTwoMeasuredMoveTheNearerMore) {
  StepCostModel costs;
  costs.Measure(Decode(4, 8), 10 * kMs);
  costs.Measure(Decode(4, 16), 10 * kMs);
  for (int i = 0; i < 30; ++i) Observe(costs, Decode(4, 10), 20 * kMs);
  EXPECT_GT(costs.Predict(Decode(4, 8)), 1.03 * costs.Predict(Decode(4, 16)));
}

TEST(StepCostModelTest, AFirstStepIsAMeasurementAndASecondMayLowerIt) {
  StepCostModel costs;
  Observe(costs, Decode(4, 1), 90 * kMs);  // cold
  ExpectNear(costs.Predict(Decode(4, 1)), 90 * kMs);
  Observe(costs, Decode(4, 1), 10 * kMs);
  ExpectNear(costs.Predict(Decode(4, 1)), 10 * kMs);
  // From now on as after a sweep.
  Observe(costs, Decode(4, 1), 5 * kMs);
  EXPECT_GT(costs.Predict(Decode(4, 1)), 9 * kMs);
}

TEST(StepCostModelTest, LearnsRowCountsFarFromThoseMeasured) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  ExpectNear(costs.Predict(Decode(4, 16)), 160 * kMs);
  Observe(costs, Decode(4, 16), 20 * kMs);
  ExpectNear(costs.Predict(Decode(4, 16)), 20 * kMs);
  ExpectNear(costs.Predict(Decode(4, 1)), 10 * kMs);
}

TEST(StepCostModelTest, WhatIsLearnedUnderLoadIsRelativeToTheLoad) {
  StepCostModel costs;
  costs.Measure(Decode(8, 1), 20 * kMs);
  for (int i = 0; i < 2000; ++i) Observe(costs, Decode(8, 1), 60 * kMs);
  for (int i = 0; i < 2; ++i) Observe(costs, Decode(4, 1), 30 * kMs);
  for (int i = 0; i < 2000; ++i) Observe(costs, Decode(8, 1), 20 * kMs);
  EXPECT_NEAR(Milliseconds(costs, Decode(4, 1)), 10, 0.5);
}

TEST(StepCostModelTest, AMixedStepWithAnUnknownPartTeachesNothing) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  const std::vector<RowCount> step = {Decode(4, 1), Prefill(4, 100)};
  costs.Observe(step, 200 * kMs);
  ExpectNear(costs.Predict(Decode(4, 1)), 10 * kMs);
  EXPECT_EQ(costs.Predict(Prefill(4, 100)), absl::ZeroDuration());
}

TEST(StepCostModelTest, OneOutlierMovesAPredictionLittle) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  Observe(costs, Decode(4, 1), 10000 * kMs);
  EXPECT_LT(costs.Predict(Decode(4, 1)), 14 * kMs);
}

TEST(StepCostModelTest, ForgetsWhatTheLastStepsToldOfTheMachine) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  for (int i = 0; i < 100; ++i) Observe(costs, Decode(4, 1), 80 * kMs);
  Observe(costs, Decode(4, 16), 5000 * kMs);
  for (int i = 0; i < 2; ++i) Observe(costs, Prefill(4, 64), 160 * kMs);
  costs.ForgetRecent();
  ExpectNear(costs.Predict(Decode(4, 1)), 10 * kMs);
  ExpectNear(costs.Predict(Decode(4, 16)), 160 * kMs);
  ExpectNear(costs.Predict(Prefill(4, 64)), 160 * kMs);
}

}  // namespace
}  // namespace anyprec
