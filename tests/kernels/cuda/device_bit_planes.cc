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
    view_.codebooks[codebook.precision] =
        codebooks_.emplace_back(padded).data();
  }
}

std::vector<ExactProduct> MultiplyExactly(const QuantizedLinear& layer,
                                          int precision,
                                          std::span<const float> x) {
  const int n = layer.matrix.n;
  const int k = layer.matrix.k;
  const auto codebook =
      std::find_if(layer.codebooks.begin(), layer.codebooks.end(),
                   [&](const Codebook& c) { return c.precision == precision; });
  const size_t rows = x.size() / k;
  std::vector<ExactProduct> products(rows * n);
  for (int i = 0; i < n; ++i) {
    for (int column = 0; column < k; ++column) {
      const int code = CodeAt(layer.matrix, precision, i, column);
      const double w = ToFloat(codebook->data[(i << precision) + code]);
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
