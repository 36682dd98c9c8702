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

TEST(StepCostModelTest, TakesTheNearestMeasuredPrecision) {
  StepCostModel costs;
  costs.Measure(Decode(3, 1), 3 * kMs);
  costs.Measure(Decode(8, 1), 8 * kMs);
  ExpectNear(costs.Predict(Decode(4, 1)), 3 * kMs);
  ExpectNear(costs.Predict(Decode(7, 1)), 8 * kMs);
  EXPECT_EQ(costs.Predict(Prefill(4, 1)), absl::ZeroDuration());
}

TEST(StepCostModelTest, SumsTheGroupsOfAStep) {
  StepCostModel costs;
  costs.Measure(Decode(3, 1), 3 * kMs);
  costs.Measure(Decode(8, 1), 8 * kMs);
  const std::vector<RowCount> step = {Decode(3, 1), Decode(8, 1)};
  ExpectNear(costs.Predict(step), 11 * kMs);
}

TEST(StepCostModelTest, FollowsWhatStepsReallyTake) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  costs.Measure(Decode(8, 1), 20 * kMs);
  const std::vector<RowCount> step = {Decode(4, 1)};
  for (int i = 0; i < 100; ++i) costs.Observe(step, 15 * kMs);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(costs.Predict(step)), 15, 0.1);
  ExpectNear(costs.Predict(Decode(8, 1)), 20 * kMs);
}

TEST(StepCostModelTest, OneOutlierMovesAPredictionLittle) {
  StepCostModel costs;
  costs.Measure(Decode(4, 1), 10 * kMs);
  const std::vector<RowCount> step = {Decode(4, 1)};
  costs.Observe(step, 10000 * kMs);
  EXPECT_LT(costs.Predict(step), 14 * kMs);
}

}  // namespace
}  // namespace anyprec
