#include "tests/load/rate_search.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace anyprec::load {
namespace {

// Meets all SLOs up to its capacity, and then fewer and fewer.
double ServerGoodput(double rate, double capacity) {
  return rate <= capacity ? 1 : capacity / rate;
}

TEST(RateSearchTest, FindsTheRateWithinTheTolerance) {
  const auto rates = FindHighestRates(
      {0.9, 0.99}, {.min_rate_rps = 1, .max_rate_rps = 1000, .tolerance = 0.02},
      [](double rate) { return ServerGoodput(rate, 50); });
  ASSERT_TRUE(rates.ok()) << rates.status();
  for (const HighestRate& found : *rates) {
    const double exact = 50 / found.goodput;
    ASSERT_TRUE(found.rate_rps.has_value());
    EXPECT_LE(*found.rate_rps, exact);
    EXPECT_GE(*found.rate_rps, exact / 1.02);
    EXPECT_FALSE(found.at_max);
  }
}

TEST(RateSearchTest, NoRateIsMeasuredTwice) {
  std::multiset<double> measured;
  ASSERT_TRUE(FindHighestRates({0.99, 0.9}, {}, [&](double rate) {
                measured.insert(rate);
                return ServerGoodput(rate, 7);
              }).ok());
  for (const double rate : measured) EXPECT_EQ(measured.count(rate), 1u);
  // log2(log(1000) / log(1.05)) = 7.1 halvings, for the second a few more.
  EXPECT_LE(measured.size(), 2u + 8 + 6);
}

TEST(RateSearchTest, BoundsMayHoldTheAnswer) {
  const auto never = FindHighestRates({0.9}, {}, [](double) { return 0.5; });
  ASSERT_TRUE(never.ok());
  EXPECT_FALSE((*never)[0].rate_rps.has_value());
  const auto always =
      FindHighestRates({0.9}, {.max_rate_rps = 20}, [](double) { return 1.0; });
  ASSERT_TRUE(always.ok());
  EXPECT_EQ((*always)[0].rate_rps, 20);
  EXPECT_TRUE((*always)[0].at_max);
}

TEST(RateSearchTest, AServerThatIsNotMonotonicEndsTheSearchAllTheSame) {
  int calls = 0;
  const auto rates = FindHighestRates(
      {0.9}, {}, [&](double) { return ++calls % 2 == 1 ? 1.0 : 0.0; });
  ASSERT_TRUE(rates.ok());
  EXPECT_TRUE((*rates)[0].rate_rps.has_value());
}

TEST(RateSearchTest, ErrorsOfTheMeasurementAndWrongBoundsEndIt) {
  EXPECT_EQ(FindHighestRates({0.9}, {},
                             [](double) -> absl::StatusOr<double> {
                               return absl::UnavailableError("gone");
                             })
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
  const auto one = [](double) { return 1.0; };
  EXPECT_FALSE(FindHighestRates({0.9}, {.min_rate_rps = 0}, one).ok());
  EXPECT_FALSE(
      FindHighestRates({0.9}, {.min_rate_rps = 5, .max_rate_rps = 1}, one)
          .ok());
  EXPECT_FALSE(FindHighestRates({0.9}, {.tolerance = 0}, one).ok());
}

}  // namespace
}  // namespace anyprec::load
