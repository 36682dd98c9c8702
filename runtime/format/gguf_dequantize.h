// Values of GGUF's block types, after the format's public definition.
#ifndef ANYPREC_RUNTIME_FORMAT_GGUF_DEQUANTIZE_H_
#define ANYPREC_RUNTIME_FORMAT_GGUF_DEQUANTIZE_H_

#include <cstddef>
#include <span>

#include "runtime/format/tensor.h"

namespace anyprec {

// Whether Dequantize reads `dtype`: F64, F32, F16, BF16, Q4_0, Q4_1, Q5_0,
// Q5_1, Q8_0, Q4_K, Q5_K, Q6_K.
bool CanDequantize(DType dtype);

// values[i] = element i of `blocks`, in fp32; whatever the bytes are (a scale
// may be NaN: callers check the result).
// REQUIRES: CanDequantize(dtype); `blocks` is a whole number of blocks, and
// `values` has room for just their elements.
void Dequantize(DType dtype, std::span<const std::byte> blocks,
                std::span<float> values);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_GGUF_DEQUANTIZE_H_
