// The products that AVX-512 machines offer, each from the translation unit
// that is compiled for the extensions it names.
//
// REQUIRES (to call the functions of a product): the machine has them.
#ifndef ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_PRODUCTS_H_
#define ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_PRODUCTS_H_

#include "kernels/cpu/bit_plane_kernels.h"

namespace anyprec {

// Few decode rows in int16 with vpdpwssd.
BitPlaneProduct Avx512Int16Gemv();
// The same results for any number of rows: batches go through panels, or
// through AMX-INT8.
BitPlaneProduct Avx512Int16Decode();
BitPlaneProduct AmxInt8Decode();

// Multiplies rows [first_row, last_row) of a job that Avx512Int16Gemv packed.
void Avx512MultiplyInt16Rows(const BitPlaneJob& job, int first_tile,
                             int last_tile, int first_row, int last_row);
// Packed scales of row m of such a job, [scale_blocks].
const float* Avx512Int16Scales(const BitPlaneJob& job, int m);

// Decode rows in fp32.
BitPlaneProduct Avx512Float32Decode();

// Prefill rows from tables of int16 as bytes or int16, by precision.
BitPlaneProduct Avx512IntegerPrefill();
// The same with AMX, as bytes or bfloat16.
BitPlaneProduct AmxPrefill();
// Prefill rows in fp32.
BitPlaneProduct Avx512Float32Prefill();

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_BIT_PLANE_AVX512_PRODUCTS_H_
