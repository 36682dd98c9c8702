#include <cuda_fp16.h>

#include <cfloat>
#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/bit_plane_codes.cuh"
#include "kernels/cuda/bit_plane_prefill.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/warp_reduce.cuh"
#include "kernels/cuda/weight_decoders.cuh"
#include "kernels/cuda/weight_tiles.h"

// Everything here goes by *half tiles*: 16 rows of W by 128 columns, 4 words a
// row, of which lane (g, t) = (lane / 4, lane % 4) decodes word t of rows g and
// g + 8. A half tile is 8 products of mma.m16n8k16. The order of columns within
// a product's k is ours to choose, as long as W and x agree. Product s takes
// columns 4 s to 4 s + 3 of each of the 4 words:
//
//   k of the product | 2t | 2t + 1 | 2t + 8 | 2t + 9
//   column of word t | 4s | 4s + 1 | 4s + 2 | 4s + 3
//
// so that each lane's part of the A fragment consists of weights that it
// decodes, and its part of the B fragment of consecutive activations.

namespace anyprec {
namespace {

constexpr int kHalfColumns = kTileColumns / 2;
constexpr int kProducts = kHalfColumns / 16;  // of a half tile
constexpr int kProductTokens = 8;             // n of a product

// A block computes 4 bands of W, one decoded by each warp, for 128 tokens, of
// which each warp takes 32. Then a warp's sums fill 64 registers and it uses
// every fragment that it reads from shared memory 4 times. The more tokens, the
// less decoding weighs: at some 6 instructions a weight, those of 64 x 256
// weights take a multiprocessor's four schedulers about 800 cycles, and their
// products with 128 tokens its tensor cores 1000 cycles (sm_90's dense rate, of
// 2048 multiplications a cycle) or 2000 (sm_80's).
constexpr int kBands = 4;
constexpr int kWarps = kBands;
constexpr int kThreads = 32 * kWarps;
constexpr int kTokenTiles = 4;  // of 8 tokens, for each warp
constexpr int kBlockTokens = kWarps * kTokenTiles * kProductTokens;

// 48 KB for codebooks of 8 bits: as much as a block has without asking.
template <class Decoder>
struct PrefillShared {
  typename Decoder::Shared bands[kBands];
  uint4 weights[kBands][kProducts][32];  // A fragments of a half tile
};

// What rounding makes of x[rows, k]. Columns are padded to whole tiles and rows
// to multiples of 8, with zeros.
struct RoundedRows {
  // [tile of 8 rows][half tile][pair of products][lane]: lane (g, t) holds 8
  // consecutive columns, those of word t of row g, for products 2 i, 2 i + 1.
  uint4* fragments;
  float* scales;  // [rows]: x = scale * rounded
};
constexpr int kPairs = kProducts / 2;

constexpr int HalfTiles(int k) { return 2 * TilesPerBand(k); }
constexpr int TokenTiles(int rows) {
  return (rows + kProductTokens - 1) / kProductTokens;
}

size_t FragmentBytes(int k, int rows) {
  return sizeof(uint4) * TokenTiles(rows) * HalfTiles(k) * kPairs * 32;
}

// The power of two that brings `largest` to [2^14, 2^15): below 65504 whatever
// rounding does. Rows of zeros, and rows that are not finite, stay as they are;
// rows below 2^-100 are small all the same.
__device__ float RowScale(float largest) {
  if (!(largest > 0 && largest <= FLT_MAX)) return 1;
  return ldexpf(1.0f, 14 - ilogbf(fmaxf(largest, 0x1p-100f)));
}

__device__ __forceinline__ uint32_t RoundPair(float low, float high) {
  const uint32_t low_bits = __half_as_ushort(__float2half_rn(low));
  const uint32_t high_bits = __half_as_ushort(__float2half_rn(high));
  return low_bits | high_bits << 16;
}

constexpr int kRoundThreads = 128;

// The largest magnitude in row[k], for all threads of the block. NaN does not
// count.
__device__ float LargestMagnitude(const float* row, int k,
                                  float (&warps)[kRoundThreads / 32]) {
  float largest = 0;
  for (int i = threadIdx.x; i < k; i += kRoundThreads) {
    largest = fmaxf(largest, fabsf(row[i]));
  }
  largest = WarpMax(largest);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = largest;
  __syncthreads();
  for (const float other : warps) largest = fmaxf(largest, other);
  return largest;
}

struct RoundShared {
  float warps[kRoundThreads / 32];
};

// One block for each row, those of padding included.
__global__ void __launch_bounds__(kRoundThreads)
    RoundRowsKernel(const float* x, int rows, int k, RoundedRows out) {
  auto& shared = StaticShared<RoundShared>();
  const int row = blockIdx.x;
  const float* in = x + static_cast<size_t>(row) * k;
  const int columns = row < rows ? k : 0;  // the others are zero
  const float scale = RowScale(LargestMagnitude(in, columns, shared.warps));
  if (row < rows && threadIdx.x == 0) out.scales[row] = 1 / scale;

  const size_t first_half =
      static_cast<size_t>(row / kProductTokens) * HalfTiles(k);
  for (int i = threadIdx.x; i < HalfTiles(k) * 16; i += kRoundThreads) {
    const int column = 8 * i;
    float4 a = {0, 0, 0, 0};
    float4 b = {0, 0, 0, 0};
    if (column < columns) {
      a = *reinterpret_cast<const float4*>(in + column);
      b = *reinterpret_cast<const float4*>(in + column + 4);
    }
    const int pair = i % 4;
    const int lane = row % kProductTokens * 4 + i / 4 % 4;
    out.fragments[((first_half + i / 16) * kPairs + pair) * 32 + lane] = {
        RoundPair(a.x * scale, a.y * scale),
        RoundPair(a.z * scale, a.w * scale),
        RoundPair(b.x * scale, b.y * scale),
        RoundPair(b.z * scale, b.w * scale)};
  }
}

// Writes the lane's 2 x 32 weights of half a tile as A fragments.
template <class Decoder>
__device__ __forceinline__ void DecodeHalf(const Decoder& decoder, int lane,
                                           uint4 (&fragments)[kProducts][32]) {
  const auto two = [&](int r, int byte, int i) {
    return decoder.ToHalf(r, byte, i) | decoder.ToHalf(r, byte, i + 1) << 16;
  };
#pragma unroll 1  // 16 weights at a time are independent work enough
  for (int byte = 0; byte < 4; ++byte) {
#pragma unroll
    for (int i = 0; i < 8; i += 4) {
      fragments[2 * byte + i / 4][lane] = {two(0, byte, i), two(1, byte, i),
                                           two(0, byte, i + 2),
                                           two(1, byte, i + 2)};
    }
  }
}

// Band i of the block. Where fewer than 4 are left the last one stands in for
// the others, whose sums are not stored.
__device__ __forceinline__ int Band(int i, int bands) {
  const int band = blockIdx.x * kBands + i;
  return band < bands ? band : bands - 1;
}

// Of the warp's token tile i: its number in the call. Neighbouring tiles go to
// different warps, so that few tokens keep all of them busy.
__device__ __forceinline__ int TokenTile(int warp, int i) {
  return (blockIdx.y * kTokenTiles + i) * kWarps + warp;
}

// Adds the products of 4 bands of half a tile with the warp's tokens.
// `x` points at the lane's fragment of the half tile for token tile 0.
__device__ __forceinline__ void MultiplyHalf(
    const uint4 (&weights)[kBands][kProducts][32], const uint4* x,
    size_t token_tile_stride, int token_tiles, int warp, int lane,
    float (&sums)[kBands][kTokenTiles][4]) {
#pragma unroll 1
  for (int pair = 0; pair < kPairs; ++pair) {
    uint4 tokens[kTokenTiles];
#pragma unroll
    for (int i = 0; i < kTokenTiles; ++i) {
      const int tile = TokenTile(warp, i);
      if (tile < token_tiles)
        tokens[i] = x[tile * token_tile_stride + 32 * pair];
    }
#pragma unroll
    for (int product = 0; product < 2; ++product) {
#pragma unroll
      for (int band = 0; band < kBands; ++band) {
        const uint4 w = weights[band][2 * pair + product][lane];
        const uint32_t a[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int i = 0; i < kTokenTiles; ++i) {
          if (TokenTile(warp, i) >= token_tiles) continue;
          const uint4& t = tokens[i];
          const uint32_t b[2] = {product == 0 ? t.x : t.z,
                                 product == 0 ? t.y : t.w};
          MmaF16(sums[band][i], a, b);
        }
      }
    }
  }
}

// Writes the warp's sums: element e of a product's result is row
// g + 8 (e / 2), token 2 t + e % 2.
__device__ __forceinline__ void StoreSums(
    const float (&sums)[kBands][kTokenTiles][4], const float* scales, int n,
    int rows, int warp, int lane, float* y, bool accumulate) {
#pragma unroll
  for (int i = 0; i < kTokenTiles; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int token =
          TokenTile(warp, i) * kProductTokens + lane % 4 * 2 + e % 2;
      if (token >= rows) continue;
      const float scale = scales[token];
#pragma unroll
      for (int band = 0; band < kBands; ++band) {
        const int row =
            (blockIdx.x * kBands + band) * kTileRows + lane / 4 + e / 2 * 8;
        if (row >= n) continue;
        float& out = y[static_cast<size_t>(token) * n + row];
        out = fmaf(sums[band][i][e], scale, accumulate ? out : 0);
      }
    }
  }
}

// Block (4 bands, 128 tokens).
template <template <int> class Decoder, int kBits>
__global__ void __launch_bounds__(kThreads)
    PrefillKernel(BitPlaneWeights weights, RoundedRows x, int rows, float* y,
                  bool accumulate) {
  auto& shared = StaticShared<PrefillShared<Decoder<kBits>>>();
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int bands = BandCount(weights.n);
  for (int i = 0; i < kBands; ++i) {
    Decoder<kBits>::Load(weights, Band(i, bands), shared.bands[i]);
  }
  const int band = Band(warp, bands);
  const int tiles = TilesPerBand(weights.k);
  const size_t half_stride = static_cast<size_t>(kPairs) * 32;

  float sums[kBands][kTokenTiles][4] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    const auto pieces = LoadPieces<kBits>(
        weights, static_cast<size_t>(band) * tiles + tile, lane);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      __syncthreads();  // shared.bands is there, the half before has been read
      const HalfTile at = {band, tile, half};
      const Decoder<kBits> decoder(weights, at, pieces, lane,
                                   shared.bands[warp]);
      DecodeHalf(decoder, lane, shared.weights[warp]);
      __syncthreads();
      MultiplyHalf(shared.weights,
                   x.fragments + (2 * tile + half) * half_stride + lane,
                   2 * tiles * half_stride, TokenTiles(rows), warp, lane, sums);
    }
  }
  StoreSums(sums, x.scales, weights.n, rows, warp, lane, y, accumulate);
}

}  // namespace

size_t PrefillScratchBytes(int k, int rows) {
  return FragmentBytes(k, rows) + sizeof(float) * rows;
}

cudaError_t PrefillBitPlanes(const BitPlaneWeights& weights, int precision,
                             const float* x, int rows, float* y,
                             bool accumulate, void* scratch,
                             cudaStream_t stream) {
  CheckBitPlanes(weights, precision);
  ANYPREC_CHECK(reinterpret_cast<uintptr_t>(x) % sizeof(float4) == 0 &&
                reinterpret_cast<uintptr_t>(scratch) % sizeof(uint4) == 0)
      << "activations at " << x << " or scratch at " << scratch
      << " are not aligned";
  if (rows == 0) return cudaSuccess;
  const int k = weights.k;
  const RoundedRows rounded = {
      static_cast<uint4*>(scratch),
      reinterpret_cast<float*>(static_cast<char*>(scratch) +
                               FragmentBytes(k, rows))};
  const cudaError_t error =
      Launch(&RoundRowsKernel, dim3(TokenTiles(rows) * kProductTokens),
             dim3(kRoundThreads), 0, stream, x, rows, k, rounded);
  if (error != cudaSuccess) return error;
  const dim3 grid((BandCount(weights.n) + kBands - 1) / kBands,
                  (rows + kBlockTokens - 1) / kBlockTokens);
  return WithPrecision(precision, [&](auto bits) {
    const auto kernel = weights.group_words > 0
                            ? &PrefillKernel<ScalesDecoder, bits()>
                            : &PrefillKernel<CodebookDecoder, bits()>;
    return Launch(kernel, grid, dim3(kThreads), 0, stream, weights, rounded,
                  rows, y, accumulate);
  });
}

}  // namespace anyprec
