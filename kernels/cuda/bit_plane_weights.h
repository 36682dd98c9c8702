// A bit-plane layer in GPU memory, as the kernels see it.
#ifndef ANYPREC_KERNELS_CUDA_BIT_PLANE_WEIGHTS_H_
#define ANYPREC_KERNELS_CUDA_BIT_PLANE_WEIGHTS_H_

#include <cstdint>

#include "kernels/bit_plane.h"
#include "kernels/types.h"

namespace anyprec {

// A view of W[n, k]: owns nothing, cheap to copy, passed to kernels by value.
//
// Invariants:
//   1. planes[i] points at plane i, most significant first, in tile order
//      (weight_tiles.h); each plane is an allocation of its own, null where it
//      was not loaded.
//   2. codebooks[p] points at [BandCount(n) * 16, 2^p] finite centroids, the
//      rows beyond n being zero, or is null where precision p is not offered.
//   3. planes and codebooks are 16-byte aligned; k is a multiple of 32.
struct BitPlaneWeights {
  const uint32_t* planes[kMaxBits] = {};
  const Float16* codebooks[kMaxBits + 1] = {};
  int n = 0;
  int k = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_BIT_PLANE_WEIGHTS_H_
