// Quantizes one row of a linear layer to binary codes, group by group.
#ifndef ANYPREC_QUANTIZE_BINARY_CODED_ROW_QUANTIZER_H_
#define ANYPREC_QUANTIZE_BINARY_CODED_ROW_QUANTIZER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/types.h"
#include "quantize/binary_coded_group.h"
#include "quantize/row_quantizer.h"

namespace anyprec {

class BinaryCodedRowQuantizer final : public RowQuantizer {
 public:
  // REQUIRES: group_size > 0.
  BinaryCodedRowQuantizer(const PrecisionRange& range, int group_size);

  // The last group has fewer columns where group_size does not divide k. Groups
  // share nothing but the scaling of their sample weights.
  RowError Quantize(std::span<const float> values,
                    std::span<const float> sample_weights,
                    std::span<uint8_t> codes,
                    std::span<Float16> stored) override;

 private:
  const RowFormat format_;
  std::vector<double> weights_;
  BinaryCodedGroup group_;
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_BINARY_CODED_ROW_QUANTIZER_H_
