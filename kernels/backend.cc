#include "kernels/backend.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/status_macros.h"
#include "kernels/types.h"

namespace anyprec {

absl::StatusOr<std::unique_ptr<LinearWeights>> Backend::LoadRandomBitPlanes(
    const RandomLayer& layer, int min_bits, int max_bits) {
  RETURN_IF_ERROR(ValidateRandomLayer(layer));
  RETURN_IF_ERROR(ValidateRandomBits(min_bits, max_bits));
  const int words_per_row = layer.k / 32;
  std::vector<std::vector<uint32_t>> planes(max_bits);
  std::vector<const uint32_t*> pointers;
  for (int plane = 0; plane < max_bits; ++plane) {
    std::vector<uint32_t>& words = planes[plane];
    words.reserve(static_cast<size_t>(layer.n) * words_per_row);
    for (int row = 0; row < layer.n; ++row) {
      for (int word = 0; word < words_per_row; ++word) {
        words.push_back(RandomPlaneWord(layer, plane, row, word));
      }
    }
    pointers.push_back(words.data());
  }
  std::vector<std::vector<Float16>> centroids;
  std::vector<Codebook> codebooks;
  for (int bits = min_bits; bits <= max_bits; ++bits) {
    const std::vector<Float16> row = RandomCentroids(bits, layer.k);
    std::vector<Float16>& all = centroids.emplace_back();
    all.reserve(layer.n * row.size());
    for (int i = 0; i < layer.n; ++i) {
      all.insert(all.end(), row.begin(), row.end());
    }
    codebooks.push_back({.precision = bits, .data = all});
  }
  const QuantizedLinear linear = {
      .matrix = {.planes = pointers, .n = layer.n, .k = layer.k},
      .codebooks = codebooks};
  return LoadBitPlanes({&linear, 1});
}

absl::StatusOr<std::unique_ptr<LinearWeights>> Backend::LoadRandomDense(
    const RandomLayer& layer, DenseMatrix::Type type) {
  RETURN_IF_ERROR(ValidateRandomLayer(layer));
  const size_t words = static_cast<size_t>(layer.n) * layer.k / 4;
  DenseMatrix matrix = {.type = type,
                        .data = nullptr,
                        .row_scales = {},
                        .n = layer.n,
                        .k = layer.k};
  if (type == DenseMatrix::Type::kInt8) {
    std::vector<uint32_t> values;
    values.reserve(words);
    for (size_t i = 0; i < words; ++i) {
      values.push_back(RandomInt8Word(RandomWord(layer.seed, i)));
    }
    const std::vector<float> scales(layer.n, RandomInt8Scale(layer.k));
    matrix.data = values.data();
    matrix.row_scales = scales;
    return LoadDense({&matrix, 1});
  }
  if (type == DenseMatrix::Type::kFloat16) {
    const std::vector<Float16> table = RandomCentroids(8, layer.k);
    std::vector<Float16> values;
    values.reserve(4 * words);
    for (size_t i = 0; i < words; ++i) {
      const uint32_t random = RandomWord(layer.seed, i);
      for (int byte = 0; byte < 4; ++byte) {
        values.push_back(table[random >> (8 * byte) & 0xff]);
      }
    }
    matrix.data = values.data();
    return LoadDense({&matrix, 1});
  }
  return absl::InvalidArgumentError(
      "a random dense layer, needs type int8 or fp16");
}

}  // namespace anyprec
