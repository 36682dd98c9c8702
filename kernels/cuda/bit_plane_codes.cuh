// What the bit-plane kernels share: reading a band's planes, and turning the
// words of several planes into codes.
//
// Device code, for .cu files only. A block works on bands of 16 rows; a lane of
// a warp decodes the words that the tile order gives it (weight_tiles.h).
#ifndef ANYPREC_KERNELS_CUDA_BIT_PLANE_CODES_CUH_
#define ANYPREC_KERNELS_CUDA_BIT_PLANE_CODES_CUH_

#include <cstdint>
#include <type_traits>

#include "kernels/check.h"
#include "kernels/cuda/bit_plane_weights.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/weight_tiles.h"

namespace anyprec {

// The lane's 16 bytes of a tile in each of kBits planes. word[plane][i] belongs
// to row g + 8 (i % 2) and to the columns [32 t, 32 t + 32) of half i / 2 of
// the tile, where g = lane / 4, t = lane % 4.
template <int kBits>
struct TilePieces {
  uint32_t word[kBits][4];
};

template <int kBits>
__device__ __forceinline__ TilePieces<kBits> LoadPieces(
    const BitPlaneWeights& weights, size_t tile, int lane) {
  TilePieces<kBits> pieces;
#pragma unroll
  for (int plane = 0; plane < kBits; ++plane) {
    const uint4* tiles = reinterpret_cast<const uint4*>(weights.planes[plane]);
    const uint4 piece = tiles[tile * (kTileWords / 4) + lane];
    pieces.word[plane][0] = piece.x;
    pieces.word[plane][1] = piece.y;
    pieces.word[plane][2] = piece.z;
    pieces.word[plane][3] = piece.w;
  }
  return pieces;
}

// Transposes blocks of kSide x kSide bits: bit i of field f of word j becomes
// bit j of field f of word i, where a field is kSide consecutive bits. Each
// step exchanges the high half of fields twice as wide in one word with the
// low half of the fields in its partner.
template <int kSide>
__device__ __forceinline__ void TransposeBits(uint32_t (&words)[kSide]) {
#pragma unroll
  for (int width = kSide / 2; width > 0; width /= 2) {
    const uint32_t low = ~0u / ((1u << width) + 1);  // 0x0f0f0f0f for 4
#pragma unroll
    for (int i = 0; i < kSide; ++i) {
      if (i & width) continue;
      const uint32_t a = words[i];
      const uint32_t b = words[i + width];
      words[i] = (a & low) | (b << width & ~low);
      words[i + width] = (a >> width & low) | (b & ~low);
    }
  }
}

// The codes of 32 consecutive columns of a row.
template <int kBits>
class RowCodes {
 public:
  // `index` as in TilePieces.
  __device__ __forceinline__ RowCodes(const TilePieces<kBits>& pieces,
                                      int index) {
    // Plane 0 is a code's most significant bit.
#pragma unroll
    for (int bit = 0; bit < kSide; ++bit) {
      words_[bit] = bit < kBits ? pieces.word[kBits - 1 - bit][index] : 0;
    }
    TransposeBits<kSide>(words_);
  }

  // The code of column 8 * byte + i, which the words' byte `byte` holds. i is
  // known once loops are unrolled; loops over bytes need not be.
  __device__ __forceinline__ uint32_t Code(int byte, int i) const {
    constexpr uint32_t kMask = (1u << kBits) - 1;
    return words_[i % kSide] >> (8 * byte + i / kSide * kSide) & kMask;
  }

 private:
  // Fields that hold a code and are as wide as there are words.
  static constexpr int kSide = kBits <= 2 ? 2 : kBits <= 4 ? 4 : 8;
  uint32_t words_[kSide];
};

// Calls function(std::integral_constant<int, precision>()).
template <class Function>
cudaError_t WithPrecision(int precision, const Function& function) {
  static_assert(kMinBits == 2 && kMaxBits == 8);
  switch (precision) {
    case 2:
      return function(std::integral_constant<int, 2>());
    case 3:
      return function(std::integral_constant<int, 3>());
    case 4:
      return function(std::integral_constant<int, 4>());
    case 5:
      return function(std::integral_constant<int, 5>());
    case 6:
      return function(std::integral_constant<int, 6>());
    case 7:
      return function(std::integral_constant<int, 7>());
    case 8:
      return function(std::integral_constant<int, 8>());
  }
  ANYPREC_CHECK(false) << "no kernel for " << precision << " bits";
  return cudaErrorInvalidValue;
}

// Checks what the host functions require of a layer.
inline void CheckBitPlanes(const BitPlaneWeights& weights, int precision) {
  ANYPREC_CHECK(precision >= kMinBits && precision <= kMaxBits &&
                (weights.codebooks[precision] != nullptr ||
                 weights.scales[precision] != nullptr))
      << "precision " << precision << " was not loaded";
  for (int plane = 0; plane < precision; ++plane) {
    ANYPREC_CHECK(weights.planes[plane] != nullptr)
        << "plane " << plane << " was not loaded";
  }
}

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_BIT_PLANE_CODES_CUH_
