#include "runtime/scheduler/served_load.h"

#include "gtest/gtest.h"

namespace anyprec {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);
constexpr absl::Duration kStep = absl::Milliseconds(20);

TEST(ServedLoadTest, ConvergesToWhatIsServedAndFadesAfterwards) {
  ServedLoadMeter meter;
  EXPECT_EQ(meter.At(kStart).tokens_per_second, 0);
  absl::Time now = kStart;
  // 50 steps a second, each with 8 rows of prompts that take 5 ms; every tenth
  // ends an answer.
  for (int step = 0; step < 5000; ++step) {
    now += kStep;
    meter.AddStep(8, kStep / 4, now);
    if (step % 10 == 0) meter.AddAnswer(30);
  }
  EXPECT_NEAR(meter.At(now).tokens_per_second, 150, 5);
  EXPECT_NEAR(meter.At(now).prompt_rows_per_second, 400, 10);
  EXPECT_NEAR(meter.At(now).prompt_share, 0.25, 0.01);
  now += absl::Minutes(2);
  EXPECT_LT(meter.At(now).tokens_per_second, 0.01);
  EXPECT_LT(meter.At(now).prompt_rows_per_second, 0.01);
  EXPECT_LT(meter.At(now).prompt_share, 0.0001);
}

TEST(ServedLoadTest, AClockThatWasSetBackChangesLittle) {
  ServedLoadMeter meter;
  meter.AddStep(1, kStep, kStart);
  const double share = meter.At(kStart).prompt_share;
  EXPECT_EQ(meter.At(kStart - absl::Hours(1)).prompt_share, share);
  meter.AddStep(1, kStep, kStart - absl::Hours(1));
  EXPECT_EQ(meter.At(kStart).prompt_share, 2 * share);
}

}  // namespace
}  // namespace anyprec
