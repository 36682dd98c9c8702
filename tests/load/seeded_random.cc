#include "tests/load/seeded_random.h"

#include <cmath>
#include <numbers>

#include "kernels/check.h"

namespace anyprec::load {

double SeededRandom::Uniform() {
  return static_cast<double>(engine_() >> 11) * 0x1p-53;
}

int64_t SeededRandom::Integer(int64_t low, int64_t high) {
  ANYPREC_CHECK(low <= high) << low << " > " << high;
  const double span = static_cast<double>(high - low) + 1;
  return low + static_cast<int64_t>(Uniform() * span);
}

double SeededRandom::Exponential() { return -std::log1p(-Uniform()); }

// Box and Muller's method, one of its two results.
double SeededRandom::Normal() {
  const double radius = std::sqrt(2 * Exponential());
  return radius * std::cos(2 * std::numbers::pi * Uniform());
}

// Marsaglia and Tsang, "A simple method for generating gamma variables", 2000.
double SeededRandom::GammaOfShape(double shape) {
  if (shape < 1) {
    const double boost = std::exp(-Exponential() / shape);
    return GammaOfShape(shape + 1) * boost;
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = Normal();
    const double base = 1 + c * x;
    if (base <= 0) continue;
    const double v = base * base * base;
    const double log_u = -Exponential();  // of a uniform u in (0, 1]
    if (log_u < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

double SeededRandom::Gamma(double cv) {
  ANYPREC_CHECK(cv > 0) << cv;
  const double shape = 1 / (cv * cv);
  return GammaOfShape(shape) / shape;
}

}  // namespace anyprec::load
