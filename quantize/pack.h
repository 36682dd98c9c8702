// From codes to the bit planes of the model file.
#ifndef ANYPREC_QUANTIZE_PACK_H_
#define ANYPREC_QUANTIZE_PACK_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace anyprec {

// Writes one row into every plane, in the layout of BitPlaneMatrix: plane 0
// takes the most significant of `bits` bits, bit j of a word is column j of its
// 32.
//   codes  [k], each below 2^bits; k a multiple of 32
//   planes the row's first word in plane 0; plane i lies i * plane_stride words
//          further, k / 32 words each, output
void PackRow(std::span<const uint8_t> codes, int bits, uint32_t* planes,
             size_t plane_stride);

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_PACK_H_
