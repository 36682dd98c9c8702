#include "runtime/scheduler/speculation.h"

#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);

// One row at b bits takes b ms, and each further row a tenth of that.
StepCostModel Costs() {
  StepCostModel costs;
  for (int bits = 3; bits <= 8; ++bits) {
    costs.Measure({Phase::kDecode, bits, 1}, bits * kMs);
    costs.Measure({Phase::kDecode, bits, 11}, 2 * bits * kMs);
  }
  return costs;
}

DraftQuery QueryAt(int bits, int rows = 1) {
  DraftQuery query;
  query.speculating = {{Phase::kDecode, bits, rows}};
  query.bits = {3, 8};
  return query;
}

AcceptanceRates RatesOf(double rate) {
  AcceptanceRates rates;
  for (int bits = 3; bits <= 8; ++bits) {
    for (int window = 0; window < 1000; ++window) {
      // Wrong ones spread evenly.
      rates.Add(bits, 1, window * 37 % 100 < 100 * rate ? 1 : 0);
    }
  }
  return rates;
}

TEST(AcceptanceRatesTest, LearnsAndForgets) {
  AcceptanceRates rates;
  const double prior = rates.At(3);
  EXPECT_GT(prior, 0.5);
  for (int window = 0; window < 100; ++window) rates.Add(3, 4, 0);
  EXPECT_LT(rates.At(3), 0.2);
  EXPECT_EQ(rates.At(4), prior);
  for (int step = 0; step < 10000; ++step) rates.Fade();
  EXPECT_NEAR(rates.At(3), prior, 0.01);
}

TEST(AcceptanceRatesTest, EstimatesTheChanceOfOneDraft) {
  // Windows of four, of which the first two are right: two right, one wrong.
  AcceptanceRates rates;
  for (int window = 0; window < 1000; ++window) rates.Add(5, 4, 2);
  EXPECT_NEAR(rates.At(5), 2.0 / 3, 0.02);
}

TEST(ChooseDraftWindowTest, SpeculatesWhereDraftsAreCheapAndRight) {
  const DraftWindow window =
      ChooseDraftWindow(QueryAt(8), RatesOf(0.95), Costs());
  EXPECT_EQ(window.bits, 3);
  EXPECT_GE(window.tokens, 3);
}

TEST(ChooseDraftWindowTest, DraftsFewerTheLessTheyAreRight) {
  int last = kMaxDraftTokens;
  for (const double rate : {0.99, 0.9, 0.8, 0.7, 0.5, 0.2}) {
    const int tokens =
        ChooseDraftWindow(QueryAt(8), RatesOf(rate), Costs()).tokens;
    EXPECT_LE(tokens, last) << rate;
    last = tokens;
  }
  EXPECT_EQ(last, 0);
}

TEST(ChooseDraftWindowTest, TakesTheDraftThatIsRightMoreOften) {
  AcceptanceRates rates = RatesOf(0.95);
  for (int window = 0; window < 200; ++window) rates.Add(3, 4, 0);
  EXPECT_EQ(ChooseDraftWindow(QueryAt(8), rates, Costs()).bits, 4);
}

TEST(ChooseDraftWindowTest, DecodesPlainlyWhereRowsCostWhatStepsDo) {
  StepCostModel costs;
  for (int bits = 3; bits <= 8; ++bits) {
    costs.Measure({Phase::kDecode, bits, 1}, 8 * kMs);
    costs.Measure({Phase::kDecode, bits, 9}, 72 * kMs);
  }
  EXPECT_EQ(ChooseDraftWindow(QueryAt(8), RatesOf(0.99), costs).tokens, 0);
}

TEST(ChooseDraftWindowTest, OthersRowsCountInEveryStep) {
  DraftQuery query = QueryAt(8);
  query.others = {{Phase::kDecode, 8, 40}};
  EXPECT_EQ(ChooseDraftWindow(query, RatesOf(0.6), Costs()).tokens, 0);
  query.others.clear();
  EXPECT_GT(ChooseDraftWindow(query, RatesOf(0.8), Costs()).tokens, 0);
}

TEST(ChooseDraftWindowTest, KeepsToWhatWasAskedFor) {
  DraftQuery query = QueryAt(8);
  query.least_tokens = query.most_tokens = 5;
  query.bits = {6, 6};
  // However bad the idea.
  const DraftWindow window = ChooseDraftWindow(query, RatesOf(0.1), Costs());
  EXPECT_EQ(window.tokens, 5);
  EXPECT_EQ(window.bits, 6);
}

TEST(ChooseDraftWindowTest, NoPrecisionBelowTheirsMeansPlainDecoding) {
  DraftQuery query = QueryAt(3);
  query.least_tokens = query.most_tokens = 4;
  EXPECT_EQ(ChooseDraftWindow(query, RatesOf(0.99), Costs()).tokens, 0);
}

TEST(ChooseDraftWindowTest, WithoutMeasurementsNothingIsPredictedToPay) {
  EXPECT_EQ(
      ChooseDraftWindow(QueryAt(8), RatesOf(0.99), StepCostModel()).tokens, 0);
}

}  // namespace
}  // namespace anyprec
