#include "runtime/scheduler/load_pressure.h"

#include "gtest/gtest.h"

namespace anyprec {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);

// After five minutes of so many requests a second, every `refused_each`-th of
// them refused.
double PressureAt(double rate, int refused_each) {
  LoadPressure pressure;
  absl::Time now = kStart;
  const int requests = static_cast<int>(300 * rate);
  for (int i = 1; i <= requests; ++i) {
    now += absl::Seconds(1 / rate);
    if (i % refused_each == 0) {
      pressure.AddRefused(now);
    } else {
      pressure.AddTaken(now);
    }
  }
  return pressure.At(now);
}

TEST(LoadPressureTest, OneThatIsRefusedNowAndThenPressesALittle) {
  EXPECT_EQ(PressureAt(2, 1000000), 1);
  EXPECT_NEAR(PressureAt(2, 60), 1.5, 0.35);
}

TEST(LoadPressureTest, AtHighRatesThePartOfThemCounts) {
  EXPECT_NEAR(PressureAt(100, 100), 2.2, 0.05);
  EXPECT_NEAR(PressureAt(1000, 100), 2.2, 0.05);
  EXPECT_NEAR(PressureAt(1000, 1000), 1.12, 0.02);
}

TEST(LoadPressureTest, AnOverloadPressesAtMost) {
  EXPECT_EQ(PressureAt(10, 2), LoadPressure::kMost);
  EXPECT_EQ(PressureAt(1000, 2), LoadPressure::kMost);
}

TEST(LoadPressureTest, WearsOff) {
  LoadPressure pressure;
  pressure.AddRefused(kStart);
  EXPECT_EQ(pressure.At(kStart), 1.5);
  EXPECT_LT(pressure.At(kStart + absl::Minutes(1)), 1.1);
  EXPECT_EQ(pressure.At(kStart - absl::Minutes(1)), 1.5) << "clock set back";
}

}  // namespace
}  // namespace anyprec
