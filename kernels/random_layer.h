// Random layers: weights of a given shape to measure speed with, where real
// ones cannot be had. Bits of planes are uniform and centroids the quantiles of
// a normal distribution, as k-means would find them, so that the arithmetic is
// that of a trained model.
//
// Every word is a function of the seed and of its place alone: a GPU fills its
// memory in any order, and all backends hold the same layer, bit for bit.
#ifndef ANYPREC_KERNELS_RANDOM_LAYER_H_
#define ANYPREC_KERNELS_RANDOM_LAYER_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/types.h"

namespace anyprec {

// W[n, k].
struct RandomLayer {
  int n = 0;
  int k = 0;  // a multiple of 32
  uint64_t seed = 0;
};

// Number `index` of the sequence of `seed`: splitmix64 (Steele et al., OOPSLA
// 2014), which any element of can be had without those before.
constexpr uint32_t RandomWord(uint64_t seed, uint64_t index) {
  uint64_t z = (seed << 40) + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return static_cast<uint32_t>(z ^ (z >> 31));
}

// Word `word` of a row of a plane, as BitPlaneMatrix counts them.
constexpr uint32_t RandomPlaneWord(const RandomLayer& layer, int plane, int row,
                                   int word) {
  const uint64_t words_per_row = static_cast<uint64_t>(layer.k) / 32;
  const uint64_t row_index = static_cast<uint64_t>(plane) * layer.n + row;
  return RandomWord(layer.seed, row_index * words_per_row + word);
}

// Elements 4 i to 4 i + 3 of a dense layer come from the four bytes of
// RandomWord(seed, i), lowest first. In int8 these are the odd numbers of
// [-127, 127]:
constexpr uint32_t RandomInt8Word(uint32_t random) {
  return (random | 0x01010101u) ^ 0x80808080u;
}
// of which each row has this scale. They have a standard deviation of 74.
inline float RandomInt8Scale(int k) {
  return 1 / (74 * std::sqrt(static_cast<float>(k)));
}

// The 2^bits centroids of each row at one precision, ascending; in a dense
// layer of fp16, those of 8 bits are what a byte selects from. Their standard
// deviation of 1 / sqrt(k) keeps activations of unit variance from layer to
// layer.
std::vector<Float16> RandomCentroids(int bits, int k);

// INVALID_ARGUMENT where there is no such layer, or no such range of
// precisions.
absl::Status ValidateRandomLayer(const RandomLayer& layer);
absl::Status ValidateRandomBits(int min_bits, int max_bits);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_RANDOM_LAYER_H_
