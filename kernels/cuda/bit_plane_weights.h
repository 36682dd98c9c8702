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
//   2. A layer has codebooks, or it has scales and group_words > 0; of either
//      kind, null where precision p is not offered, with the rows beyond n
//      being zero:
//        codebooks[p]  [BandCount(n) * 16, 2^p] finite centroids
//        scales[p]     [BandCount(n), groups, 1 + p, 16] beta and the p alphas
//                      of a band's 16 rows, so that a warp reads those of a
//                      group in one piece
//   3. planes, codebooks and scales are 16-byte aligned; k is a multiple of 32.
struct BitPlaneWeights {
  const uint32_t* planes[kMaxBits] = {};
  const Float16* codebooks[kMaxBits + 1] = {};
  const Float16* scales[kMaxBits + 1] = {};
  int group_words = 0;  // of 32 columns, in a group of scales
  int n = 0;
  int k = 0;
};

// Groups of a row, of a layer with scales.
constexpr int GroupsOf(const BitPlaneWeights& weights) {
  return (weights.k / 32 + weights.group_words - 1) / weights.group_words;
}

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_BIT_PLANE_WEIGHTS_H_
