#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/bit_plane_codes.cuh"
#include "kernels/cuda/bit_plane_decode.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/warp_reduce.cuh"
#include "kernels/cuda/weight_decoders.cuh"
#include "kernels/cuda/weight_tiles.h"

namespace anyprec {
namespace {

// A block computes 16 rows of W. Its warps take the band's tiles in turn, so
// that 16 tiles, k = 4096, keep all of them busy and 256 blocks, n = 4096,
// bring 16 warps to each of some 130 multiprocessors.
constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;

// Rows of x that share one decoding of the weights, at most.
constexpr int kMaxRows = 8;

// Activations are staged for half a tile at a time: 4 words of 32 columns, 4
// columns for each lane. From one word to the next lie 36 floats, not 32: the
// lanes of a quarter read 4 words at once, from different banks.
constexpr int kHalfWords = 4;
constexpr int kWordPitch = 36;

// 48 KB for codebooks of 8 bits and 8 rows: as much as a block has without
// asking.
template <class Decoder, int kRows>
struct DecodeShared {
  typename Decoder::Shared weights;
  alignas(16) float x[kWarps][kRows][kHalfWords][kWordPitch];
  float sums[kWarps][kRows][kTileRows];
};

// The activations of a block's rows; columns beyond the last count as zero.
struct Activations {
  const float* x;  // [rows, k]
  int rows;
  int k;
};

// Copies columns [first_column, + 128) of kRows rows to the warp's `staged`.
template <int kRows>
__device__ __forceinline__ void StageHalf(
    const Activations& in, int first_column, int lane,
    float (&staged)[kRows][kHalfWords][kWordPitch]) {
  const int column = first_column + 4 * lane;
  __syncwarp();  // the half before has been read
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    if (m >= in.rows) continue;
    float4 values = {0, 0, 0, 0};
    if (column < in.k) {
      values = *reinterpret_cast<const float4*>(
          in.x + static_cast<size_t>(m) * in.k + column);
    }
    *reinterpret_cast<float4*>(&staged[m][lane / 8][lane % 8 * 4]) = values;
  }
  __syncwarp();
}

// Adds the products of the lane's 2 x 32 weights in half a tile to
// sums[row g or g + 8][m], for m < rows.
template <class Decoder, int kRows>
__device__ __forceinline__ void AddHalf(
    const Decoder& decoder, int lane, int rows,
    const float (&staged)[kRows][kHalfWords][kWordPitch],
    float (&sums)[2][kRows]) {
#pragma unroll 1  // 16 weights at a time are independent work enough
  for (int byte = 0; byte < 4; ++byte) {
    float w[2][8];
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      w[i / 8][i % 8] = decoder.ToFloat(i / 8, byte, i % 8);
    }
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      if (m >= rows) continue;
#pragma unroll
      for (int i = 0; i < 8; i += 4) {
        const float4 x = *reinterpret_cast<const float4*>(
            &staged[m][lane % 4][8 * byte + i]);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          sums[r][m] = fmaf(w[r][i], x.x, sums[r][m]);
          sums[r][m] = fmaf(w[r][i + 1], x.y, sums[r][m]);
          sums[r][m] = fmaf(w[r][i + 2], x.z, sums[r][m]);
          sums[r][m] = fmaf(w[r][i + 3], x.w, sums[r][m]);
        }
      }
    }
  }
}

// Adds up the four lanes of each row; lane t = 0 writes the warp's sums.
template <int kRows>
__device__ __forceinline__ void StoreWarpSums(float (&sums)[2][kRows], int lane,
                                              float (&out)[kRows][kTileRows]) {
#pragma unroll
  for (int i = 0; i < 2 * kRows; ++i) {
    const float sum = WarpSum<4>(sums[i % 2][i / 2]);
    if (lane % 4 == 0) out[i / 2][lane / 4 + i % 2 * 8] = sum;
  }
}

// The block's band of W times the rows of `in`, of which there are up to kRows.
// `shared` may be that of more bits.
//   y  [in.rows, n]
template <template <int> class Decoder, int kBits, class WiderDecoder,
          int kRows>
__device__ __forceinline__ void MultiplyBand(
    const BitPlaneWeights& weights, const Activations& in, float* y,
    bool accumulate, DecodeShared<WiderDecoder, kRows>& shared) {
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int band = blockIdx.x;
  Decoder<kBits>::Load(weights, band, shared.weights);
  __syncthreads();

  float sums[2][kRows] = {};
  const int tiles = TilesPerBand(weights.k);
  for (int tile = warp; tile < tiles; tile += kWarps) {
    const auto pieces = LoadPieces<kBits>(
        weights, static_cast<size_t>(band) * tiles + tile, lane);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      StageHalf<kRows>(in, tile * kTileColumns + half * kTileColumns / 2, lane,
                       shared.x[warp]);
      const HalfTile at = {band, tile, half};
      const Decoder<kBits> decoder(weights, at, pieces, lane, shared.weights);
      AddHalf<Decoder<kBits>, kRows>(decoder, lane, in.rows, shared.x[warp],
                                     sums);
    }
  }
  StoreWarpSums<kRows>(sums, lane, shared.sums[warp]);
  __syncthreads();

  const int m = threadIdx.x / kTileRows;
  const int row = band * kTileRows + threadIdx.x % kTileRows;
  if (m >= kRows || m >= in.rows || row >= weights.n) return;
  float sum = 0;
  for (int i = 0; i < kWarps; ++i) {
    sum += shared.sums[i][m][threadIdx.x % kTileRows];
  }
  float& out = y[static_cast<size_t>(m) * weights.n + row];
  out = accumulate ? out + sum : sum;
}
static_assert(kMaxRows * kTileRows <= kThreads);

// Block (band, slice of kRows rows of x).
template <template <int> class Decoder, int kBits, int kRows>
__global__ void __launch_bounds__(kThreads)
    DecodeKernel(BitPlaneWeights weights, const float* x, int rows, float* y,
                 bool accumulate) {
  const int first_row = blockIdx.y * kRows;
  const Activations in = {x + static_cast<size_t>(first_row) * weights.k,
                          rows - first_row, weights.k};
  MultiplyBand<Decoder, kBits>(
      weights, in, y + static_cast<size_t>(first_row) * weights.n, accumulate,
      StaticShared<DecodeShared<Decoder<kBits>, kRows>>());
}

// MultiplyBand() at `precision`, from kBits up to kMaxBits.
template <template <int> class Decoder, int kBits, int kMaxBits, int kRows>
__device__ __forceinline__ void MultiplyBandAt(
    int precision, const BitPlaneWeights& weights, const Activations& in,
    float* y, bool accumulate, DecodeShared<Decoder<kMaxBits>, kRows>& shared) {
  if (precision == kBits) {
    MultiplyBand<Decoder, kBits>(weights, in, y, accumulate, shared);
  } else if constexpr (kBits < kMaxBits) {
    MultiplyBandAt<Decoder, kBits + 1, kMaxBits, kRows>(precision, weights, in,
                                                        y, accumulate, shared);
  }
}

// Block (band, one of those that take the band's slices in turn): as many as a
// step of a single precision has slices, so that there none is without work.
template <template <int> class Decoder, int kMaxBits, int kRows>
__global__ void __launch_bounds__(kThreads)
    DecodeSlicesKernel(BitPlaneWeights weights, DecodeSlices slices,
                       const float* x, float* y, bool accumulate) {
  auto& shared = StaticShared<DecodeShared<Decoder<kMaxBits>, kRows>>();
  const int count = *slices.count;
  for (int i = blockIdx.y; i < count; i += gridDim.y) {
    const DecodeSlice slice = slices.slices[i];
    const Activations in = {
        x + static_cast<size_t>(slice.first_row) * weights.k, slice.rows,
        weights.k};
    MultiplyBandAt<Decoder, kMinBits, kMaxBits, kRows>(
        slice.precision, weights, in,
        y + static_cast<size_t>(slice.first_row) * weights.n, accumulate,
        shared);
    __syncthreads();  // before shared memory is written again
  }
}

template <template <int> class Decoder, int kRows>
cudaError_t LaunchDecode(const BitPlaneWeights& weights, int precision,
                         const float* x, int rows, float* y, bool accumulate,
                         cudaStream_t stream) {
  const dim3 grid(BandCount(weights.n), (rows + kRows - 1) / kRows);
  return WithPrecision(precision, [&](auto bits) {
    return Launch(&DecodeKernel<Decoder, bits(), kRows>, grid, dim3(kThreads),
                  0, stream, weights, x, rows, y, accumulate);
  });
}

// A kernel takes the registers of its widest precision, and as long to compile
// as all of them: one for each two precisions is what both will bear.
template <template <int> class Decoder, int kRows>
cudaError_t LaunchDecodeSlices(const BitPlaneWeights& weights,
                               const DecodeSlices& slices, const float* x,
                               float* y, bool accumulate, cudaStream_t stream) {
  const dim3 grid(BandCount(weights.n), (slices.max_rows + kRows - 1) / kRows);
  const int bits = MaxSlicePrecision(slices.max_precision);
  const auto kernel = bits == 4   ? &DecodeSlicesKernel<Decoder, 4, kRows>
                      : bits == 6 ? &DecodeSlicesKernel<Decoder, 6, kRows>
                                  : &DecodeSlicesKernel<Decoder, 8, kRows>;
  static_assert(kMaxBits == 8);
  return Launch(kernel, grid, dim3(kThreads), 0, stream, weights, slices, x, y,
                accumulate);
}

void CheckAlignment(const float* x) {
  ANYPREC_CHECK(reinterpret_cast<uintptr_t>(x) % sizeof(float4) == 0)
      << "activations at " << x << " are not aligned";
}

}  // namespace

int MaxSliceRows(int max_rows) { return max_rows <= 1 ? 1 : kMaxRows; }

int MaxSlicePrecision(int max_precision) {
  return max_precision <= 4 ? 4 : max_precision <= 6 ? 6 : 8;
}

cudaError_t DecodeBitPlanes(const BitPlaneWeights& weights, int precision,
                            const float* x, int rows, float* y, bool accumulate,
                            cudaStream_t stream) {
  CheckBitPlanes(weights, precision);
  CheckAlignment(x);
  if (rows == 0) return cudaSuccess;
  const bool one = MaxSliceRows(rows) == 1;
  const auto launch = weights.group_words > 0
                          ? (one ? &LaunchDecode<ScalesDecoder, 1>
                                 : &LaunchDecode<ScalesDecoder, kMaxRows>)
                          : (one ? &LaunchDecode<CodebookDecoder, 1>
                                 : &LaunchDecode<CodebookDecoder, kMaxRows>);
  return launch(weights, precision, x, rows, y, accumulate, stream);
}

cudaError_t DecodeBitPlaneSlices(const BitPlaneWeights& weights,
                                 const DecodeSlices& slices, const float* x,
                                 float* y, bool accumulate,
                                 cudaStream_t stream) {
  CheckBitPlanes(weights, slices.max_precision);
  CheckAlignment(x);
  if (slices.max_rows == 0) return cudaSuccess;
  const bool one = MaxSliceRows(slices.max_rows) == 1;
  const auto launch =
      weights.group_words > 0
          ? (one ? &LaunchDecodeSlices<ScalesDecoder, 1>
                 : &LaunchDecodeSlices<ScalesDecoder, kMaxRows>)
          : (one ? &LaunchDecodeSlices<CodebookDecoder, 1>
                 : &LaunchDecodeSlices<CodebookDecoder, kMaxRows>);
  return launch(weights, slices, x, y, accumulate, stream);
}

}  // namespace anyprec
