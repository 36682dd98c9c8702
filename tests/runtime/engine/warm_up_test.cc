#include "runtime/engine/warm_up.h"

#include <algorithm>
#include <set>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "runtime/engine/model_runner.h"
#include "runtime/scheduler/step_plan.h"

namespace anyprec {
namespace {

// Notes what it was asked to compute.
class NotingRunner : public ModelRunner {
 public:
  explicit NotingRunner(int kv_blocks) : kv_blocks_(kv_blocks) {}

  absl::StatusOr<StepOutput> Execute(const StepPlan& plan) override {
    if (!status.ok()) return status;
    if (disturbed_runs-- > 0) absl::SleepFor(kDisturbance);
    const RowGroup& group = plan.groups.at(0);
    if (plan.groups.size() > 1) {
      mixed.insert({group.precision, plan.groups.at(1).precision});
    } else if (const int position = plan.sequences.at(0).position) {
      contexts.insert({group.phase, group.end, position});
    } else {
      cells.insert({group.phase, group.precision, group.end});
      order.emplace_back(group.phase, group.precision, group.end);
    }
    std::set<int32_t> blocks;
    size_t listed = 0;
    for (const SequenceRows& rows : plan.sequences) {
      EXPECT_GE(rows.blocks.size() * 16,
                static_cast<size_t>(rows.position + rows.rows));
      for (const int32_t block : rows.blocks) EXPECT_LT(block, kv_blocks_);
      blocks.insert(rows.blocks.begin(), rows.blocks.end());
      listed += rows.blocks.size();
    }
    EXPECT_EQ(blocks.size(), listed) << "sequences share a block";
    return StepOutput();
  }

  std::set<std::tuple<Phase, int, int>> cells;     // phase, bits, rows
  std::set<std::tuple<Phase, int, int>> contexts;  // phase, rows, position
  std::set<std::pair<int, int>> mixed;             // bits of decodes
  std::vector<std::tuple<Phase, int, int>> order;
  absl::Status status;
  int disturbed_runs = 0;  // of the next ones

  static constexpr absl::Duration kDisturbance = absl::Milliseconds(5);

 private:
  const int kv_blocks_;
};

WarmUpOptions Options() {
  WarmUpOptions options;
  options.min_bits = 3;
  options.max_bits = 5;
  options.max_decode_rows = 64;
  options.max_prefill_rows = 512;
  options.max_context_tokens = 600;
  options.kv_blocks = 40;
  options.time_limit = absl::InfiniteDuration();
  return options;
}

TEST(WarmUpTest, MeasuresDecodeAndPrefillAtEveryPrecision) {
  NotingRunner runner(40);
  const auto costs = MeasureStepCosts(runner, Options());
  ASSERT_TRUE(costs.ok());
  EXPECT_EQ(runner.cells.size(), 3u * 5u);  // 48 rows have no blocks
  for (int bits = 3; bits <= 5; ++bits) {
    for (const int rows : {1, 4, 16}) {
      EXPECT_TRUE(runner.cells.contains({Phase::kDecode, bits, rows}));
      EXPECT_GT(costs->Predict({Phase::kDecode, bits, rows}),
                absl::ZeroDuration());
    }
    EXPECT_TRUE(runner.cells.contains({Phase::kPrefill, bits, 128}));
    EXPECT_TRUE(runner.cells.contains({Phase::kPrefill, bits, 16}));
  }
}

TEST(WarmUpTest, MeasuresWhatAContextAndASecondPrecisionCost) {
  NotingRunner runner(40);
  ASSERT_TRUE(MeasureStepCosts(runner, Options()).ok());
  // As far into a context as it reaches.
  EXPECT_EQ(runner.contexts,
            (std::set<std::tuple<Phase, int, int>>{
                {Phase::kDecode, 1, 599}, {Phase::kPrefill, 128, 472}}));
  EXPECT_EQ(runner.mixed, (std::set<std::pair<int, int>>{{3, 4}}));
}

TEST(WarmUpTest, PrefillAtTheEndsOfTheRangeComesBeforeBatches) {
  NotingRunner runner(40);
  ASSERT_TRUE(MeasureStepCosts(runner, Options()).ok());
  const auto turn = [&](Phase phase, int bits, int rows) {
    return std::find(runner.order.begin(), runner.order.end(),
                     std::tuple(phase, bits, rows));
  };
  for (int bits = 3; bits <= 5; ++bits) {
    for (const int rows : {16, 128}) {
      EXPECT_LT(turn(Phase::kPrefill, 3, rows), turn(Phase::kDecode, bits, 16));
      EXPECT_LT(turn(Phase::kPrefill, 5, rows), turn(Phase::kDecode, bits, 16));
    }
  }
}

TEST(WarmUpTest, StaysWithinTheCacheAndTheLimitsOfAStep) {
  NotingRunner runner(2);
  WarmUpOptions options = Options();
  options.kv_blocks = 2;
  options.max_prefill_rows = 20;
  ASSERT_TRUE(MeasureStepCosts(runner, options).ok());
  for (const auto& [phase, bits, rows] : runner.cells) {
    EXPECT_LE(rows, phase == Phase::kDecode ? 2 : 20);
  }
}

TEST(WarmUpTest, DoesNotBelieveADisturbanceThatPasses) {
  NotingRunner runner(40);
  runner.disturbed_runs = 5 * 18;  // the first pass: all runs of all probes
  const auto costs = MeasureStepCosts(runner, Options());
  ASSERT_TRUE(costs.ok());
  for (const StepCostPoint& point : costs->Points()) {
    EXPECT_LT(point.measured, NotingRunner::kDisturbance)
        << point.bits << " bits, " << point.rows << " rows";
  }
}

TEST(WarmUpTest, GoesOnWhileItFindsLess) {
  NotingRunner runner(40);
  runner.disturbed_runs = 5 * 18 * 5 / 2;  // to the middle of the third pass
  WarmUpOptions options = Options();
  options.time_limit = absl::Minutes(1);
  const auto costs = MeasureStepCosts(runner, options);
  ASSERT_TRUE(costs.ok());
  for (const StepCostPoint& point : costs->Points()) {
    EXPECT_LT(point.measured, NotingRunner::kDisturbance)
        << point.bits << " bits, " << point.rows << " rows";
  }
}

TEST(WarmUpTest, MeasuresNothingWithoutTime) {
  NotingRunner runner(40);
  WarmUpOptions options = Options();
  options.time_limit = absl::ZeroDuration();
  ASSERT_TRUE(MeasureStepCosts(runner, options).ok());
  EXPECT_TRUE(runner.cells.empty());
}

TEST(WarmUpTest, FailsAsTheRunnerFails) {
  NotingRunner runner(40);
  runner.status = absl::InternalError("device lost");
  EXPECT_EQ(MeasureStepCosts(runner, Options()).status(), runner.status);
}

}  // namespace
}  // namespace anyprec
