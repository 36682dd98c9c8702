#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/random_fill.cuh"
#include "kernels/cuda/weight_tiles.h"

namespace anyprec {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ size_t ThreadIndex() {
  return static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
}

dim3 BlocksFor(size_t threads) {
  return dim3(static_cast<unsigned>((threads + kThreads - 1) / kThreads));
}

// The table in weight_tiles.h, read backwards.
__global__ void FillTilesKernel(RandomLayer layer, int plane, size_t words,
                                uint32_t* tiles) {
  constexpr int kWordsPerRow = kTileColumns / 32;
  const size_t i = ThreadIndex();
  if (i >= words) return;
  const int tile = static_cast<int>(i / kTileWords);
  const int lane = static_cast<int>(i % kTileWords) / 4;
  const int in_piece = static_cast<int>(i % 4);
  const int tiles_per_band = TilesPerBand(layer.k);
  const int row =
      tile / tiles_per_band * kTileRows + in_piece % 2 * 8 + lane / 4;
  const int word =
      tile % tiles_per_band * kWordsPerRow + in_piece / 2 * 4 + lane % 4;
  const bool inside = row < layer.n && word < layer.k / 32;
  tiles[i] = inside ? RandomPlaneWord(layer, plane, row, word) : 0;
}

__global__ void FillInt8Kernel(uint64_t seed, size_t count, uint32_t* words) {
  const size_t i = ThreadIndex();
  if (i < count) words[i] = RandomInt8Word(RandomWord(seed, i));
}

__global__ void FillHalvesKernel(uint64_t seed, size_t count,
                                 const uint16_t* table, uint2* fours) {
  const size_t i = ThreadIndex();
  if (i >= count) return;
  const uint32_t random = RandomWord(seed, i);
  const auto pair = [&](uint32_t bytes) {
    const uint32_t high = table[bytes >> 8 & 0xff];
    return table[bytes & 0xff] | high << 16;
  };
  fours[i] = make_uint2(pair(random), pair(random >> 16));
}

__global__ void FillRowsKernel(const uint16_t* row, int width, size_t filled,
                               size_t count, uint16_t* values) {
  const size_t i = ThreadIndex();
  if (i < count) values[i] = i < filled ? row[i % width] : 0;
}

}  // namespace

cudaError_t FillRandomTiles(const RandomLayer& layer, int plane,
                            uint32_t* tiles, cudaStream_t stream) {
  const size_t words = static_cast<size_t>(BandCount(layer.n)) *
                       TilesPerBand(layer.k) * kTileWords;
  return Launch(FillTilesKernel, BlocksFor(words), dim3(kThreads), 0, stream,
                layer, plane, words, tiles);
}

cudaError_t FillRandomInt8(const RandomLayer& layer, uint32_t* words,
                           cudaStream_t stream) {
  const size_t count = static_cast<size_t>(layer.n) * layer.k / 4;
  return Launch(FillInt8Kernel, BlocksFor(count), dim3(kThreads), 0, stream,
                layer.seed, count, words);
}

cudaError_t FillRandomHalves(const RandomLayer& layer, const Float16* table,
                             Float16* values, cudaStream_t stream) {
  const size_t count = static_cast<size_t>(layer.n) * layer.k / 4;
  return Launch(FillHalvesKernel, BlocksFor(count), dim3(kThreads), 0, stream,
                layer.seed, count, reinterpret_cast<const uint16_t*>(table),
                reinterpret_cast<uint2*>(values));
}

cudaError_t FillRows(const Float16* row, int width, int rows, int padded_rows,
                     Float16* values, cudaStream_t stream) {
  const size_t count = static_cast<size_t>(padded_rows) * width;
  return Launch(FillRowsKernel, BlocksFor(count), dim3(kThreads), 0, stream,
                reinterpret_cast<const uint16_t*>(row), width,
                static_cast<size_t>(rows) * width, count,
                reinterpret_cast<uint16_t*>(values));
}

}  // namespace anyprec
