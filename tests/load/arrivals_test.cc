#include "tests/load/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace anyprec::load {
namespace {

ArrivalOptions Options(ArrivalProcess process, double rate, double seconds) {
  ArrivalOptions options;
  options.process = process;
  options.rate_per_s = rate;
  options.duration = absl::Seconds(seconds);
  options.seed = 7;
  return options;
}

std::vector<absl::Duration> Plan(const ArrivalOptions& options) {
  const auto arrivals = PlanArrivals(options);
  EXPECT_TRUE(arrivals.ok()) << arrivals.status();
  return arrivals.ok() ? *arrivals : std::vector<absl::Duration>();
}

// Standard deviation of the gaps by their mean.
double Variation(const std::vector<absl::Duration>& arrivals) {
  double sum = 0;
  double squares = 0;
  const double n = static_cast<double>(arrivals.size()) - 1;
  for (size_t i = 1; i < arrivals.size(); ++i) {
    const double gap = absl::ToDoubleSeconds(arrivals[i] - arrivals[i - 1]);
    sum += gap;
    squares += gap * gap;
  }
  const double mean = sum / n;
  return std::sqrt(squares / n - mean * mean) / mean;
}

TEST(ArrivalsTest, ConstantGapsAreEqual) {
  const auto arrivals = Plan(Options(ArrivalProcess::kConstant, 4, 10));
  ASSERT_EQ(arrivals.size(), 40u);
  for (size_t i = 1; i < arrivals.size(); ++i) {
    EXPECT_NEAR(absl::ToDoubleSeconds(arrivals[i] - arrivals[i - 1]), 0.25,
                1e-9);
  }
}

TEST(ArrivalsTest, TheSameSeedGivesTheSameArrivals) {
  for (const auto process :
       {ArrivalProcess::kPoisson, ArrivalProcess::kGamma}) {
    ArrivalOptions options = Options(process, 50, 10);
    options.cv = 3;
    const auto first = Plan(options);
    EXPECT_EQ(first, Plan(options));
    options.seed = 8;
    EXPECT_NE(first, Plan(options));
  }
}

TEST(ArrivalsTest, ArrivalsAreAscendingAndWithinTheDuration) {
  for (const auto process :
       {ArrivalProcess::kConstant, ArrivalProcess::kPoisson,
        ArrivalProcess::kGamma}) {
    const auto arrivals = Plan(Options(process, 100, 5));
    EXPECT_TRUE(std::is_sorted(arrivals.begin(), arrivals.end()));
    EXPECT_GE(arrivals.front(), absl::ZeroDuration());
    EXPECT_LT(arrivals.back(), absl::Seconds(5));
  }
}

// Tolerances: of n gaps the mean's relative error is cv / sqrt(n), here below
// 1.5 % for cv 3; five of those. The variation's own error is larger.
TEST(ArrivalsTest, RateAndBurstinessAreAsAskedFor) {
  constexpr double kRate = 1000;
  constexpr double kSeconds = 50;
  ArrivalOptions options = Options(ArrivalProcess::kPoisson, kRate, kSeconds);
  const auto poisson = Plan(options);
  EXPECT_NEAR(static_cast<double>(poisson.size()) / (kRate * kSeconds), 1,
              0.03);
  EXPECT_NEAR(Variation(poisson), 1, 0.05);
  for (const double cv : {0.5, 1.0, 3.0}) {
    options.process = ArrivalProcess::kGamma;
    options.cv = cv;
    const auto gamma = Plan(options);
    EXPECT_NEAR(static_cast<double>(gamma.size()) / (kRate * kSeconds), 1,
                0.075)
        << cv;
    EXPECT_NEAR(Variation(gamma) / cv, 1, 0.1) << cv;
  }
}

TEST(ArrivalsTest, ARampFollowsItsRate) {
  ArrivalOptions options = Options(ArrivalProcess::kConstant, 10, 100);
  options.end_rate_per_s = 30;
  const auto arrivals = Plan(options);
  EXPECT_EQ(arrivals.size(), 2000u);  // 20 a second on the average
  const auto half =
      std::lower_bound(arrivals.begin(), arrivals.end(), absl::Seconds(50));
  EXPECT_NEAR(static_cast<double>(half - arrivals.begin()), 750, 1);
}

TEST(ArrivalsTest, ARampMayBeginOrEndAtZero) {
  ArrivalOptions options = Options(ArrivalProcess::kConstant, 0, 10);
  options.end_rate_per_s = 20;
  EXPECT_EQ(Plan(options).size(), 100u);
  options.rate_per_s = 20;
  options.end_rate_per_s = 0;
  EXPECT_EQ(Plan(options).size(), 100u);
}

TEST(ArrivalsTest, WrongOptionsAreErrors) {
  EXPECT_FALSE(PlanArrivals(Options(ArrivalProcess::kPoisson, 0, 1)).ok());
  EXPECT_FALSE(PlanArrivals(Options(ArrivalProcess::kPoisson, -1, 1)).ok());
  EXPECT_FALSE(PlanArrivals(Options(ArrivalProcess::kPoisson, 1, 0)).ok());
  EXPECT_FALSE(PlanArrivals(Options(ArrivalProcess::kPoisson, 1e9, 10)).ok());
  ArrivalOptions options = Options(ArrivalProcess::kGamma, 1, 1);
  options.cv = 0;
  EXPECT_FALSE(PlanArrivals(options).ok());
}

}  // namespace
}  // namespace anyprec::load
