#include "tests/kernels/cuda/device_bit_planes.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/weight_tiles.h"

namespace anyprec {

DeviceBitPlanes::DeviceBitPlanes(const QuantizedLinear& layer) {
  const BitPlaneMatrix& matrix = layer.matrix;
  view_.n = matrix.n;
  view_.k = matrix.k;
  for (size_t i = 0; i < matrix.planes.size(); ++i) {
    const PlanePart part = {matrix.planes[i], matrix.n};
    std::vector<uint32_t> tiles(TiledWords(matrix.n, matrix.k));
    WriteTiles({&part, 1}, matrix.k, tiles);
    view_.planes[i] = planes_.emplace_back(tiles).data();
  }
  for (const Codebook& codebook : layer.codebooks) {
    const size_t padded_rows = BandCount(matrix.n) * kTileRows;
    std::vector<Float16> padded(padded_rows << codebook.precision);
    std::copy(codebook.data.begin(), codebook.data.end(), padded.begin());
    view_.codebooks[codebook.precision] = values_.emplace_back(padded).data();
  }
  for (const GroupScales& scales : layer.scales) {
    view_.group_words = scales.group_size / 32;
    const int groups = GroupsOf(view_);
    std::vector<Float16> tiles(TiledScales(matrix.n, groups, scales.precision));
    WriteScaleTiles({&scales, 1}, groups, tiles);
    view_.scales[scales.precision] = values_.emplace_back(tiles).data();
  }
}

namespace {

template <class T>
const T& AtPrecision(std::span<const T> values, int precision) {
  return *std::find_if(values.begin(), values.end(), [&](const T& value) {
    return value.precision == precision;
  });
}

float WeightAt(const QuantizedLinear& layer, int precision, int row,
               int column) {
  const int code = CodeAt(layer.matrix, precision, row, column);
  if (layer.scales.empty()) {
    const Codebook& codebook = AtPrecision(layer.codebooks, precision);
    return ToFloat(codebook.data[(row << precision) + code]);
  }
  const GroupScales& scales = AtPrecision(layer.scales, precision);
  const int groups = GroupCount(layer.matrix.k, scales.group_size);
  const int group = row * groups + column / scales.group_size;
  return BinaryCodedWeight(code,
                           scales.alpha.subspan(group * precision, precision),
                           scales.beta[group]);
}

}  // namespace

std::vector<ExactProduct> MultiplyExactly(const QuantizedLinear& layer,
                                          int precision,
                                          std::span<const float> x) {
  const int n = layer.matrix.n;
  const int k = layer.matrix.k;
  const size_t rows = x.size() / k;
  std::vector<ExactProduct> products(rows * n);
  for (int i = 0; i < n; ++i) {
    for (int column = 0; column < k; ++column) {
      const double w = WeightAt(layer, precision, i, column);
      for (size_t row = 0; row < rows; ++row) {
        ExactProduct& product = products[row * n + i];
        product.value += w * x[row * k + column];
        product.magnitude += std::abs(w * x[row * k + column]);
      }
    }
  }
  return products;
}

}  // namespace anyprec
