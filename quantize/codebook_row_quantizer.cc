#include "quantize/codebook_row_quantizer.h"

#include <algorithm>

#include "kernels/check.h"
#include "quantize/upscale.h"

namespace anyprec {

CodebookRowQuantizer::CodebookRowQuantizer(const PrecisionRange& range)
    : range_(range) {
  ANYPREC_CHECK(kMinBits <= range.seed_bits &&
                range.seed_bits <= range.parent_bits &&
                range.parent_bits <= kMaxBits);
}

RowError CodebookRowQuantizer::Quantize(std::span<const float> values,
                                        std::span<const float> sample_weights,
                                        std::span<uint8_t> codes,
                                        std::span<Float16> stored) {
  ANYPREC_CHECK(codes.size() == values.size());
  ANYPREC_CHECK(stored.size() == RowFormat{.range = range_}.ValuesPerRow(
                                     static_cast<int>(values.size())));
  row_.Assign(values, sample_weights);

  RowError error;
  error.squared_norm = row_.SquaredError(0, row_.size(), 0.0);
  for (int p = range_.seed_bits; p <= range_.parent_bits; ++p) {
    const size_t clusters = size_t{1} << p;
    boundaries_.swap(previous_boundaries_);
    centroids_.swap(previous_centroids_);
    boundaries_.resize(clusters + 1);
    centroids_.resize(clusters);
    if (p == range_.seed_bits) {
      kmeans_.Partition(row_, static_cast<int>(clusters), boundaries_);
      ComputeCentroids(row_, boundaries_, {}, centroids_);
    } else {
      SplitClusters(row_, previous_boundaries_, boundaries_);
      ComputeCentroids(row_, boundaries_, previous_centroids_, centroids_);
    }
    const std::span<Float16> codebook = stored.first(clusters);
    stored = stored.subspan(clusters);
    double& squared_error = error.squared_error[p - range_.seed_bits];
    for (size_t c = 0; c < clusters; ++c) {
      codebook[c] = ToFloat16(static_cast<float>(centroids_[c]));
      squared_error += row_.SquaredError(boundaries_[c], boundaries_[c + 1],
                                         ToFloat(codebook[c]));
    }
  }

  code_of_rank_.resize(row_.size());
  for (size_t c = 0; c + 1 < boundaries_.size(); ++c) {
    std::fill(code_of_rank_.begin() + boundaries_[c],
              code_of_rank_.begin() + boundaries_[c + 1],
              static_cast<uint8_t>(c));
  }
  for (size_t i = 0; i < codes.size(); ++i) {
    codes[i] = code_of_rank_[row_.ranks()[i]];
  }
  return error;
}

}  // namespace anyprec
