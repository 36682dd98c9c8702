// Random numbers that are the same on every machine for the same seed.
//
// The distributions of <random> differ between standard libraries and those of
// absl between builds; a plan that can be repeated needs neither.
//
// Thread-compatible.
#ifndef ANYPREC_TESTS_LOAD_SEEDED_RANDOM_H_
#define ANYPREC_TESTS_LOAD_SEEDED_RANDOM_H_

#include <cstdint>
#include <random>

namespace anyprec::load {

class SeededRandom {
 public:
  explicit SeededRandom(uint64_t seed) : engine_(seed) {}

  uint64_t Bits() { return engine_(); }

  // In [0, 1), of 53 random bits.
  double Uniform();

  // In [low, high], both included. REQUIRES: low <= high.
  int64_t Integer(int64_t low, int64_t high);

  // Of mean 1.
  double Exponential();

  // Of mean 1 and standard deviation `cv`. REQUIRES: cv > 0.
  double Gamma(double cv);

 private:
  double Normal();
  double GammaOfShape(double shape);

  std::mt19937_64 engine_;  // the standard fixes its sequence
};

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_SEEDED_RANDOM_H_
