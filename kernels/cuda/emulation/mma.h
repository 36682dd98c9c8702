// What the tensor core's mma.sync computes. Included by ptx.cuh alone.
#ifndef ANYPREC_KERNELS_CUDA_EMULATION_MMA_H_
#define ANYPREC_KERNELS_CUDA_EMULATION_MMA_H_

#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>

#include "kernels/cuda/emulation/emulation.h"

namespace anyprec::emulation {

inline float2 UnpackHalves(uint32_t word) {
  __half2 halves;
  std::memcpy(static_cast<void*>(&halves), &word, sizeof(halves));
  return __half22float2(halves);
}

// m16n8k16: c[16, 8] += a[16, 16] b[16, 8], fp16 in, fp32 out. A word holds two
// neighbours along k. With g = lane / 4, t = lane % 4 a lane has
//   a[r] = word t + 4 (r / 2) of row g + 8 (r % 2)
//   b[r] = word t + 4 r of column g
//   c[i] = row g + 8 (i / 2), column 2 t + i % 2
// (PTX ISA, "Matrix Fragments for mma.m16n8k16"). The sum is taken in double
// and rounded once; hardware rounds otherwise.
inline void MmaF16(float* c, const uint32_t* a, const uint32_t* b) {
  constexpr int kRows = 16, kColumns = 8, kWords = 8;
  struct Args {
    float* c;
    const uint32_t* a;
    const uint32_t* b;
  } args{c, a, b};
  WarpMeet("mma.m16n8k16", kFullMask, args, [](const Lanes<Args>& lanes) {
    float2 rows[kRows][kWords], columns[kColumns][kWords];
    for (int w = 0; w < kWords; ++w) {
      for (int m = 0; m < kRows; ++m) {
        const Args* lane = lanes[m % 8 * 4 + w % 4];
        rows[m][w] = UnpackHalves(lane->a[m / 8 + w / 4 * 2]);
      }
      for (int n = 0; n < kColumns; ++n) {
        columns[n][w] = UnpackHalves(lanes[n * 4 + w % 4]->b[w / 4]);
      }
    }
    for (int m = 0; m < kRows; ++m) {
      for (int n = 0; n < kColumns; ++n) {
        float& out = lanes[m % 8 * 4 + n / 2]->c[m / 8 * 2 + n % 2];
        double sum = out;
        for (int w = 0; w < kWords; ++w) {
          const float2 x = rows[m][w], y = columns[n][w];
          sum += double{x.x} * y.x + double{x.y} * y.y;
        }
        out = static_cast<float>(sum);
      }
    }
  });
}

}  // namespace anyprec::emulation

#endif  // ANYPREC_KERNELS_CUDA_EMULATION_MMA_H_
