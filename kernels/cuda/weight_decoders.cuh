// How the bit-plane kernels turn a lane's words into weights: by the codebook
// of a row or by the scales of a group. Kernels take either as a template:
//
//   Decoder<kBits>::Shared   what it wants of shared memory for each band
//   Decoder<kBits>::Load()   fills that, by all threads of the block; a barrier
//                            must follow
//   Decoder<kBits>(...)      the lane's 2 x 32 weights in half a tile: word
//                            lane % 4 of the half in rows g and g + 8 of the
//                            band, g = lane / 4
//   ToFloat(r, byte, i)      the weight of row g + 8 r in column 8 byte + i of
//   ToHalf(r, byte, i)       the word, as fp32 or as the bits of an fp16; i is
//                            known once loops are unrolled, byte need not be
//
// Device code, for .cu files only.
#ifndef ANYPREC_KERNELS_CUDA_WEIGHT_DECODERS_CUH_
#define ANYPREC_KERNELS_CUDA_WEIGHT_DECODERS_CUH_

#include <cuda_fp16.h>

#include <bit>
#include <cstdint>

#include "kernels/cuda/bit_plane_codes.cuh"
#include "kernels/cuda/bit_plane_weights.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/weight_tiles.h"

namespace anyprec {

// Which half of which tile of W.
struct HalfTile {
  int band;
  int tile;  // of the band
  int half;
};

template <int kBits>
class CodebookDecoder {
 public:
  struct Shared {
    alignas(16) uint16_t centroids[kTileRows << kBits];
  };

  // `shared` may be that of more bits.
  template <class SharedOfMore>
  static __device__ __forceinline__ void Load(const BitPlaneWeights& weights,
                                              int band, SharedOfMore& shared) {
    constexpr int kPieces = sizeof(Shared) / sizeof(uint4);
    const uint4* from =
        reinterpret_cast<const uint4*>(weights.codebooks[kBits]) +
        static_cast<size_t>(band) * kPieces;
    uint4* to = reinterpret_cast<uint4*>(shared.centroids);
    for (int i = threadIdx.x; i < kPieces; i += blockDim.x) to[i] = from[i];
  }

  template <class SharedOfMore>
  __device__ __forceinline__ CodebookDecoder(const BitPlaneWeights& /*weights*/,
                                             const HalfTile& at,
                                             const TilePieces<kBits>& pieces,
                                             int lane,
                                             const SharedOfMore& shared)
      : codes_{{pieces, 2 * at.half}, {pieces, 2 * at.half + 1}},
        centroids_(shared.centroids + (lane / 4 << kBits)) {}

  __device__ __forceinline__ uint32_t ToHalf(int r, int byte, int i) const {
    return (centroids_ + (8 * r << kBits))[codes_[r].Code(byte, i)];
  }
  __device__ __forceinline__ float ToFloat(int r, int byte, int i) const {
    return __half2float(
        __ushort_as_half(static_cast<uint16_t>(ToHalf(r, byte, i))));
  }

 private:
  const RowCodes<kBits> codes_[2];
  const uint16_t* const centroids_;  // of row g
};

// A lane's 32 columns lie in one group, whose scales it keeps in registers.
template <int kBits>
class ScalesDecoder {
 public:
  struct Shared {};

  template <class SharedOfMore>
  static __device__ __forceinline__ void Load(
      const BitPlaneWeights& /*weights*/, int /*band*/,
      SharedOfMore& /*shared*/) {}

  template <class SharedOfMore>
  __device__ __forceinline__ ScalesDecoder(const BitPlaneWeights& weights,
                                           const HalfTile& at,
                                           const TilePieces<kBits>& pieces,
                                           int lane,
                                           const SharedOfMore& /*shared*/) {
    // Words beyond the last column meet activations of zero: any scales do.
    const int groups = GroupsOf(weights);
    const int word = 8 * at.tile + 4 * at.half + lane % 4;
    const int own_group = word / weights.group_words;
    const int group = own_group < groups ? own_group : groups - 1;
    const auto* scales =
        reinterpret_cast<const __half*>(weights.scales[kBits]) +
        (static_cast<size_t>(at.band) * groups + group) * (kBits + 1) *
            kTileRows +
        lane / 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      beta_[r] = __half2float(scales[8 * r]);
#pragma unroll
      for (int plane = 0; plane < kBits; ++plane) {
        alpha_[r][plane] = std::bit_cast<uint32_t>(
            __half2float(scales[(plane + 1) * kTileRows + 8 * r]));
        negative_[r][plane] = ~pieces.word[plane][2 * at.half + r];
      }
    }
  }

  // In the order of BinaryCodedWeight(), hence the same bits.
  __device__ __forceinline__ float ToFloat(int r, int byte, int i) const {
    const int shift = 31 - 8 * byte - i;
    float weight = beta_[r];
#pragma unroll
    for (int plane = 0; plane < kBits; ++plane) {
      const uint32_t sign = negative_[r][plane] << shift & 0x80000000u;
      weight += std::bit_cast<float>(alpha_[r][plane] ^ sign);
    }
    return weight;
  }
  __device__ __forceinline__ uint32_t ToHalf(int r, int byte, int i) const {
    return __half_as_ushort(__float2half_rn(ToFloat(r, byte, i)));
  }

 private:
  float beta_[2];
  uint32_t alpha_[2][kBits];     // as the bits of an fp32
  uint32_t negative_[2][kBits];  // bit j: alpha counts negative in column j
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_WEIGHT_DECODERS_CUH_
