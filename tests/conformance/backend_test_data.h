// Random layers and activations, and their way into a backend and back.
#ifndef ANYPREC_TESTS_CONFORMANCE_BACKEND_TEST_DATA_H_
#define ANYPREC_TESTS_CONFORMANCE_BACKEND_TEST_DATA_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace anyprec {

// Normally distributed with variance 1; the same for the same seed.
std::vector<float> RandomFloats(size_t size, uint32_t seed);

// A layer of random codes for precisions [min_precision, max_precision], with
// codebooks or, where `group_size` is not 0, with scales; owned. Weights have a
// variance of 1 / k.
class RandomQuantizedLinear {
 public:
  RandomQuantizedLinear(int n, int k, int min_precision, int max_precision,
                        uint32_t seed, int group_size = 0);
  QuantizedLinear view() const;

 private:
  const int n_;
  const int k_;
  std::vector<std::vector<uint32_t>> planes_;
  std::vector<const uint32_t*> plane_pointers_;
  std::vector<std::vector<Float16>> values_;  // centroids, or alphas and betas
  std::vector<Codebook> codebooks_;
  std::vector<GroupScales> scales_;
};

// A layer of random numbers of any type, owned. Weights have a variance of
// 1 / k.
class RandomDense {
 public:
  RandomDense(DenseMatrix::Type type, int n, int k, uint32_t seed);
  DenseMatrix view() const;

 private:
  const DenseMatrix::Type type_;
  const int n_;
  const int k_;
  std::vector<float> floats_;
  std::vector<uint16_t> halves_;
  std::vector<int8_t> bytes_;
  std::vector<float> row_scales_;
};

// Fails the test and returns nothing sensible where the backend does.
std::unique_ptr<Buffer> Upload(Backend& backend, std::span<const float> values);
std::vector<float> Download(Backend& backend, const float* data, size_t size);

// Fails the test unless the backend normalizes a row as it should.
void ExpectWorks(Backend& backend);

// True if both hold the same bits, NaN included.
bool SameBits(std::span<const float> a, std::span<const float> b);

// The largest |a[i] - b[i]|; infinity if one of a pair alone is not finite.
double MaxError(std::span<const float> a, std::span<const float> b);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_CONFORMANCE_BACKEND_TEST_DATA_H_
