// The products that AVX-512 machines offer, each from the translation unit
// that is compiled for the extensions it names.
//
// REQUIRES (to call the functions of a product): the machine has them.
#ifndef ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_PRODUCTS_H_
#define ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_PRODUCTS_H_

#include "kernels/cpu/bit_plane_kernels.h"

namespace anyprec {

// Decode rows in int16 with vpdpwssd.
BitPlaneProduct Avx512Int16Decode();
// The same results; batches of rows go through AMX-INT8.
BitPlaneProduct AmxInt8Decode();

// Multiplies rows [first_row, last_row) of a job that Avx512Int16Decode packed.
void Avx512MultiplyInt16Rows(const BitPlaneJob& job, int first_tile,
                             int last_tile, int first_row, int last_row);
// Packed scales of row m of such a job, [scale_blocks].
const float* Avx512Int16Scales(const BitPlaneJob& job, int m);

// Decode rows in fp32.
BitPlaneProduct Avx512Float32Decode();

// Prefill rows with fp32 FMA, from tables of fp16 or of int16.
BitPlaneProduct Avx512Float32Prefill(bool float16_tables);
// Prefill rows from tables of int16 with bfloat16 products: vdpbf16ps, AMX.
BitPlaneProduct Avx512Bf16Prefill();
BitPlaneProduct AmxBf16Prefill();

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_PRODUCTS_H_
