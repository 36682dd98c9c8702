// lm_head as int8: half the bytes of fp16, which is half of what a small
// model's decode step reads.
#ifndef ANYPREC_QUANTIZE_INT8_ROWS_H_
#define ANYPREC_QUANTIZE_INT8_ROWS_H_

#include <cstdint>
#include <span>

namespace anyprec {

// Quantizes each row of W[n, k] symmetrically with one scale: W ~ values *
// scale, values in [-127, 127], rounded to nearest even; the error is at most
// half a scale (scale = max |w| of the row / 127). A row of zeros has scale 0.
//   weights  [n, k], finite
//   values   [n, k], output
//   scales   [n], output
void QuantizeRowsToInt8(std::span<const float> weights,
                        std::span<int8_t> values, std::span<float> scales);

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_INT8_ROWS_H_
