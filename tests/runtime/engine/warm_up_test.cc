#include "runtime/engine/warm_up.h"

#include <algorithm>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "runtime/engine/model_runner.h"
#include "runtime/scheduler/step_plan.h"

namespace anyprec {
namespace {

// Notes what it was asked to compute.
class NotingRunner : public ModelRunner {
 public:
  explicit NotingRunner(int kv_blocks) : kv_blocks_(kv_blocks) {}

  absl::StatusOr<std::span<const float>> Execute(
      const StepPlan& plan) override {
    if (!status.ok()) return status;
    EXPECT_EQ(plan.groups.size(), 1u);
    const RowGroup& group = plan.groups[0];
    cells.insert({group.phase, group.precision, group.end});
    order.emplace_back(group.phase, group.precision, group.end);
    std::set<int32_t> blocks;
    size_t listed = 0;
    for (const SequenceRows& rows : plan.sequences) {
      EXPECT_GE(rows.blocks.size() * 16, static_cast<size_t>(rows.rows));
      for (const int32_t block : rows.blocks) EXPECT_LT(block, kv_blocks_);
      blocks.insert(rows.blocks.begin(), rows.blocks.end());
      listed += rows.blocks.size();
    }
    EXPECT_EQ(blocks.size(), listed) << "sequences share a block";
    return std::span<const float>();
  }

  std::set<std::tuple<Phase, int, int>> cells;
  std::vector<std::tuple<Phase, int, int>> order;
  absl::Status status;

 private:
  const int kv_blocks_;
};

WarmUpOptions Options() {
  WarmUpOptions options;
  options.min_bits = 3;
  options.max_bits = 5;
  options.max_decode_rows = 64;
  options.max_prefill_rows = 512;
  options.kv_blocks = 40;
  options.time_limit = absl::InfiniteDuration();
  return options;
}

TEST(WarmUpTest, MeasuresDecodeAndPrefillAtEveryPrecision) {
  NotingRunner runner(40);
  const auto costs = MeasureStepCosts(runner, Options());
  ASSERT_TRUE(costs.ok());
  EXPECT_EQ(runner.cells.size(), 3u * 5u);
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

TEST(WarmUpTest, PrefillAtTheEndsOfTheRangeComesBeforeBatches) {
  NotingRunner runner(40);
  ASSERT_TRUE(MeasureStepCosts(runner, Options()).ok());
  const auto turn = [&](Phase phase, int bits, int rows) {
    return std::find(runner.order.begin(), runner.order.end(),
                     std::tuple(phase, bits, rows));
  };
  for (int bits = 3; bits <= 5; ++bits) {
    EXPECT_LT(turn(Phase::kPrefill, 3, 128), turn(Phase::kDecode, bits, 16));
    EXPECT_LT(turn(Phase::kPrefill, 5, 128), turn(Phase::kDecode, bits, 16));
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
