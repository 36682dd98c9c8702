// Quantizes one row of a linear layer to codebooks of every precision of a
// parent model: sort, exact seed clustering, then a chain of exact splits.
#ifndef ANYPREC_QUANTIZE_CODEBOOK_ROW_QUANTIZER_H_
#define ANYPREC_QUANTIZE_CODEBOOK_ROW_QUANTIZER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/types.h"
#include "quantize/kmeans1d.h"
#include "quantize/row_quantizer.h"
#include "quantize/sorted_row.h"

namespace anyprec {

class CodebookRowQuantizer final : public RowQuantizer {
 public:
  explicit CodebookRowQuantizer(const PrecisionRange& range);

  // Centroids are the weighted means of their clusters, rounded to fp16: as
  // inertia grows with the distance to the mean, the nearest fp16 number is the
  // best.
  RowError Quantize(std::span<const float> values,
                    std::span<const float> sample_weights,
                    std::span<uint8_t> codes,
                    std::span<Float16> stored) override;

 private:
  const PrecisionRange range_;
  SortedRow row_;
  KMeans1d kmeans_;
  // Of the precision in work and of the one before it.
  std::vector<int32_t> boundaries_, previous_boundaries_;
  std::vector<double> centroids_, previous_centroids_;
  std::vector<uint8_t> code_of_rank_;
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_CODEBOOK_ROW_QUANTIZER_H_
