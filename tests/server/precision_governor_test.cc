#include "server/precision_governor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/server/fake_engine.h"
#include "tests/server/fake_power_meter.h"

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr PrecisionLimits kLoaded = {3, 8};

// Enough for the cap to come down from 8 bits to 3.
constexpr int kManyTicks = 5 * PowerController::kLowerAfter;

class PrecisionGovernorTest : public ::testing::Test {
 protected:
  PrecisionLimits InForce() const { return engine_.Stats().precision_limits; }

  void Tick(double watts, int times) {
    reading_ = watts;
    for (int i = 0; i < times; ++i) governor_.Tick();
  }

  FakeEngine engine_;
  absl::StatusOr<double> reading_ = 100;
  PrecisionGovernor governor_{engine_, kLoaded,
                              std::make_unique<FakePowerMeter>(&reading_)};
};

TEST_F(PrecisionGovernorTest, WithoutABudgetPowerMovesNothing) {
  ASSERT_TRUE(governor_.SetLimits({4, 7}).ok());
  Tick(1000, 20);
  EXPECT_EQ(InForce(), (PrecisionLimits{4, 7}));
  EXPECT_EQ(governor_.state().watts, 1000);
  EXPECT_FALSE(governor_.state().cap_bits.has_value());
}

TEST_F(PrecisionGovernorTest, ABudgetLowersTheMaximumUntilItIsKept) {
  ASSERT_TRUE(governor_.SetBudget(100).ok());
  EXPECT_EQ(InForce(), kLoaded);
  Tick(120, PowerController::kLowerAfter);
  EXPECT_EQ(InForce(), (PrecisionLimits{3, 7}));
  Tick(95, 100);
  EXPECT_EQ(InForce(), (PrecisionLimits{3, 7}));
  EXPECT_EQ(governor_.state().budget_watts, 100);
  EXPECT_EQ(governor_.state().cap_bits, 7);
}

TEST_F(PrecisionGovernorTest, TheSmallerOfLimitAndCapWins) {
  ASSERT_TRUE(governor_.SetBudget(100).ok());
  Tick(120, 2 * PowerController::kLowerAfter);
  EXPECT_EQ(InForce().max_bits, 6);
  ASSERT_TRUE(governor_.SetLimits({3, 5}).ok());
  EXPECT_EQ(InForce().max_bits, 5);
  ASSERT_TRUE(governor_.SetLimits({3, 7}).ok());
  Tick(120, PowerController::kLowerAfter);
  EXPECT_EQ(InForce().max_bits, 4);
}

TEST_F(PrecisionGovernorTest, RemovingTheBudgetRestoresTheOperatorsLimits) {
  ASSERT_TRUE(governor_.SetLimits({4, 7}).ok());
  ASSERT_TRUE(governor_.SetBudget(100).ok());
  Tick(1000, kManyTicks);
  EXPECT_EQ(InForce(), (PrecisionLimits{4, 4}));
  ASSERT_TRUE(governor_.SetBudget(std::nullopt).ok());
  EXPECT_EQ(InForce(), (PrecisionLimits{4, 7}));
}

TEST_F(PrecisionGovernorTest, NoBudgetGoesBelowTheOperatorsMinimum) {
  ASSERT_TRUE(governor_.SetBudget(100).ok());
  Tick(1000, kManyTicks);
  EXPECT_EQ(InForce(), (PrecisionLimits{3, 3}));
  ASSERT_TRUE(governor_.SetLimits({5, 8}).ok());
  EXPECT_EQ(InForce(), (PrecisionLimits{5, 5}));
  Tick(1000, kManyTicks);
  EXPECT_EQ(InForce(), (PrecisionLimits{5, 5}));
}

TEST_F(PrecisionGovernorTest, ANewBudgetStartsFromTheCapOfTheOld) {
  ASSERT_TRUE(governor_.SetBudget(100).ok());
  Tick(120, 2 * PowerController::kLowerAfter);
  ASSERT_TRUE(governor_.SetBudget(110).ok());
  EXPECT_EQ(InForce().max_bits, 6);
  Tick(50, 100);
  EXPECT_EQ(InForce().max_bits, 8);
}

TEST_F(PrecisionGovernorTest, AMeterThatFailsLeavesTheCapWhereItIs) {
  ASSERT_TRUE(governor_.SetBudget(100).ok());
  Tick(120, PowerController::kLowerAfter);
  reading_ = absl::FailedPreconditionError("energy_uj: gone");
  for (int i = 0; i < 100; ++i) governor_.Tick();
  EXPECT_EQ(InForce().max_bits, 7);
  EXPECT_FALSE(governor_.state().watts.has_value());
  EXPECT_EQ(governor_.state().meter, "energy_uj: gone");
  EXPECT_EQ(governor_.SetBudget(50).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(governor_.SetBudget(std::nullopt).ok());
  EXPECT_EQ(InForce(), kLoaded);
}

TEST_F(PrecisionGovernorTest, LimitsOutsideTheModelAreRefusedAndChangeNothing) {
  ASSERT_TRUE(governor_.SetLimits({4, 7}).ok());
  for (const PrecisionLimits limits : {PrecisionLimits{2, 8}, {3, 9}, {6, 5}}) {
    const absl::Status status = governor_.SetLimits(limits);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("within [3, 8]"));
  }
  EXPECT_EQ(InForce(), (PrecisionLimits{4, 7}));
  EXPECT_EQ(governor_.state().operator_limits, (PrecisionLimits{4, 7}));
}

TEST(PrecisionGovernorWithoutMeterTest, LimitsWorkAndBudgetsSayWhyNot) {
  FakeEngine engine;
  PrecisionGovernor governor(
      engine, kLoaded,
      absl::FailedPreconditionError("/sys/class/powercap: No such file"));
  governor.Tick();
  EXPECT_TRUE(governor.SetLimits({3, 5}).ok());
  const absl::Status status = governor.SetBudget(100);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("cannot be measured"),
                    HasSubstr("/sys/class/powercap: No such file")));
  EXPECT_TRUE(governor.SetBudget(std::nullopt).ok());
  EXPECT_EQ(engine.Stats().precision_limits, (PrecisionLimits{3, 5}));
}

}  // namespace
}  // namespace anyprec
