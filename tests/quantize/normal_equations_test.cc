#include "quantize/normal_equations.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

// Weighted observations of sums of signed unknowns, the first always positive.
struct Problem {
  std::vector<UnknownVector> signs;
  std::vector<double> weights, values;
};

Problem RandomProblem(int size, int columns, std::mt19937& random) {
  std::normal_distribution<double> normal;
  Problem problem;
  for (int i = 0; i < columns; ++i) {
    UnknownVector& signs = problem.signs.emplace_back();
    signs[0] = 1;
    for (int j = 1; j < size; ++j) signs[j] = random() % 2 == 0 ? 1 : -1;
    problem.weights.push_back(std::exp(3 * normal(random)));
    problem.values.push_back(normal(random));
  }
  return problem;
}

UnknownVector Solve(int size, const Problem& problem) {
  UnknownMatrix gram = {};
  UnknownVector right = {};
  for (size_t c = 0; c < problem.signs.size(); ++c) {
    const UnknownVector& signs = problem.signs[c];
    for (int i = 0; i < size; ++i) {
      right[i] += problem.weights[c] * signs[i] * problem.values[c];
      for (int j = 0; j < size; ++j) {
        gram[i][j] += problem.weights[c] * signs[i] * signs[j];
      }
    }
  }
  return SolveNormalEquations(size, gram, right);
}

double SquaredError(int size, const Problem& problem, const UnknownVector& x) {
  double sum = 0;
  for (size_t c = 0; c < problem.signs.size(); ++c) {
    double rest = problem.values[c];
    for (int i = 0; i < size; ++i) rest -= problem.signs[c][i] * x[i];
    sum += problem.weights[c] * rest * rest;
  }
  return sum;
}

// At the minimum of a convex function nothing nearby is lower.
TEST(NormalEquationsTest, NoStepFromTheSolutionLowersTheError) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 200; ++trial) {
    const int size = 1 + trial % kMaxUnknowns;
    // Also fewer columns than unknowns, and equal signs.
    const Problem problem =
        RandomProblem(size, 1 + static_cast<int>(random() % 40), random);
    const UnknownVector x = Solve(size, problem);
    const double error = SquaredError(size, problem, x);
    for (int i = 0; i < size; ++i) {
      EXPECT_LT(std::abs(x[i]), 1e3);
      for (const double step : {-1e-3, 1e-3}) {
        UnknownVector other = x;
        other[i] += step;
        EXPECT_LE(error,
                  SquaredError(size, problem, other) * (1 + 1e-9) + 1e-12)
            << trial << ", unknown " << i;
      }
    }
  }
}

TEST(NormalEquationsTest, UnknownsThatCannotBeToldApartShareTheirSum) {
  Problem problem;
  for (const double sign : {1.0, -1.0, 1.0}) {
    problem.signs.push_back({1, sign, sign});
    problem.weights.push_back(1);
    problem.values.push_back(10 + 3 * sign);
  }
  const UnknownVector x = Solve(3, problem);
  EXPECT_NEAR(x[0], 10, 1e-9);
  EXPECT_NEAR(x[1] + x[2], 3, 1e-9);
  EXPECT_NEAR(x[1], x[2], 1e-4);
}

}  // namespace
}  // namespace anyprec
