// The control law against a simulated machine.
#include "server/power_controller.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace anyprec {
namespace {

constexpr PrecisionLimits kRange = {3, 8};

// Draws idle_watts, and at full load watts_per_bit for each bit. A measurement
// averages over the time since the last, in the middle of which a change of the
// cap takes effect.
struct Machine {
  double idle_watts = 0;
  double watts_per_bit = 0;
  double load = 1;
  double noise = 0;  // largest part of the power that a measurement is off
  std::mt19937 random{7};
  int bits = kRange.max_bits;

  double Measure(int cap) {
    const double mean_bits = (bits + cap) / 2.0;
    bits = cap;
    const double off = std::uniform_real_distribution<>(-noise, noise)(random);
    return (idle_watts + load * watts_per_bit * mean_bits) * (1 + off);
  }
};

struct Outcome {
  std::vector<int> caps;
  int changes = 0;
  int above = 0;  // measurements above the budget
};

Outcome Control(PowerController& controller, Machine& machine,
                int measurements) {
  Outcome outcome;
  for (int i = 0; i < measurements; ++i) {
    const int before = controller.cap();
    const double watts = machine.Measure(before);
    outcome.caps.push_back(controller.Next(watts));
    if (controller.cap() != before) ++outcome.changes;
    if (watts > controller.budget_watts()) ++outcome.above;
  }
  return outcome;
}

TEST(PowerControllerTest, ComesDownToTheBudgetAndStaysThere) {
  Machine machine{.idle_watts = 50, .watts_per_bit = 20};
  PowerController controller(/*budget_watts=*/155, kRange);
  const Outcome outcome = Control(controller, machine, 1000);
  EXPECT_EQ(controller.cap(), 5);  // 150 W
  EXPECT_EQ(outcome.changes, 3);
  // Two measurements for each bit.
  EXPECT_EQ(outcome.caps[5], 5);
}

TEST(PowerControllerTest, WithinTheBudgetNothingMoves) {
  Machine machine{.idle_watts = 50, .watts_per_bit = 20};
  PowerController controller(/*budget_watts=*/210, kRange);
  EXPECT_EQ(Control(controller, machine, 1000).changes, 0);
  EXPECT_EQ(controller.cap(), 8);
}

TEST(PowerControllerTest, ABudgetThatNoPrecisionMeetsEndsAtTheFloor) {
  Machine machine{.idle_watts = 200, .watts_per_bit = 20};
  PowerController controller(/*budget_watts=*/100, kRange);
  const Outcome outcome = Control(controller, machine, 1000);
  EXPECT_EQ(controller.cap(), kRange.min_bits);
  EXPECT_EQ(outcome.changes, kRange.max_bits - kRange.min_bits);
}

TEST(PowerControllerTest, TheCapNeverLeavesItsRange) {
  std::mt19937 random(3);
  std::uniform_real_distribution<> watts(0, 200);
  PowerController controller(/*budget_watts=*/100, kRange);
  for (int i = 0; i < 10000; ++i) {
    const int cap = controller.Next(watts(random));
    ASSERT_GE(cap, kRange.min_bits);
    ASSERT_LE(cap, kRange.max_bits);
  }
}

TEST(PowerControllerTest, GoesUpAgainWhenTheLoadLeaves) {
  Machine machine{.idle_watts = 50, .watts_per_bit = 20};
  PowerController controller(/*budget_watts=*/135, kRange);
  Control(controller, machine, 100);
  EXPECT_EQ(controller.cap(), 4);
  machine.load = 0.1;
  Control(controller, machine, 100);
  EXPECT_EQ(controller.cap(), 8);
}

TEST(PowerControllerTest, RisesOneBitAtATimeAndNotAtOnce) {
  Machine machine{.idle_watts = 50, .watts_per_bit = 20};
  PowerController controller(/*budget_watts=*/135, kRange);
  Control(controller, machine, 100);
  machine.load = 0;
  const Outcome outcome = Control(controller, machine, 100);
  for (int i = 0; i + 1 < PowerController::kRaiseAfter; ++i) {
    EXPECT_EQ(outcome.caps[i], 4) << i;
  }
  for (size_t i = 1; i < outcome.caps.size(); ++i) {
    EXPECT_LE(outcome.caps[i] - outcome.caps[i - 1], 1) << i;
  }
}

// A bit is worth 40 W: 5 bits leave room for another, 6 bits are too many.
TEST(PowerControllerTest, ABudgetBetweenTwoPrecisionsIsCrossedEverMoreRarely) {
  Machine machine{.idle_watts = 0, .watts_per_bit = 40};
  PowerController controller(/*budget_watts=*/230, kRange);
  Control(controller, machine, 10);
  const Outcome first = Control(controller, machine, 300);
  EXPECT_GT(first.changes, 0);  // Or this tests nothing.
  const Outcome settled = Control(controller, machine, 3000);
  // A try, up and down again, takes kMaxRaiseAfter measurements by then, of
  // which three may lie above: while it rises, above, while it falls.
  const int tries = 3000 / PowerController::kMaxRaiseAfter + 1;
  EXPECT_LE(settled.changes, 2 * tries);
  EXPECT_LE(settled.above, 3 * tries);
  EXPECT_LE(*std::max_element(settled.caps.begin(), settled.caps.end()), 6);
  EXPECT_GE(*std::min_element(settled.caps.begin(), settled.caps.end()), 5);
}

TEST(PowerControllerTest, NoiseWithinTheGapMovesNothing) {
  // 150 W at 5 bits: never above 155 W, and never below the 139.5 W from which
  // a raise is tried.
  Machine machine{.idle_watts = 50, .watts_per_bit = 20, .noise = 0.03};
  PowerController controller(/*budget_watts=*/155, kRange);
  Control(controller, machine, 100);
  EXPECT_EQ(controller.cap(), 5);
  EXPECT_EQ(Control(controller, machine, 2000).changes, 0);
}

TEST(PowerControllerTest, OneMeasurementAboveDecidesNothing) {
  PowerController controller(/*budget_watts=*/100, kRange);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(controller.Next(500), 8);
    EXPECT_EQ(controller.Next(99), 8);
  }
}

TEST(PowerControllerTest, ANewRangeMovesTheCapNoFurtherThanItMust) {
  PowerController controller(/*budget_watts=*/100, kRange);
  controller.Next(500);
  controller.Next(500);
  EXPECT_EQ(controller.cap(), 7);
  controller.SetRange({3, 5});
  EXPECT_EQ(controller.cap(), 5);
  controller.SetRange({3, 8});
  EXPECT_EQ(controller.cap(), 5);
  controller.SetRange({6, 8});
  EXPECT_EQ(controller.cap(), 6);
}

}  // namespace
}  // namespace anyprec
