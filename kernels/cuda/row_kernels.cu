#include <cmath>
#include <cstdint>

#include "kernels/cuda/kv_element.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row_kernels.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace anyprec {
namespace {

constexpr int kWarp = 32;
// Eight warps a block: rows of 4096 leave each thread 16 elements, and several
// blocks fit an SM.
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
// A rotation's block has up to 8 rows of head_dim / 2 pairs, often just one.
constexpr int kRopeThreads = 64;

struct RmsNormShared {
  float warp_sums[kWarps];
};

// The sum over the block, the same bits in every thread.
__device__ float BlockSum(float value) {
  auto& shared = StaticShared<RmsNormShared>();
  value = WarpSum(value);
  if (threadIdx.x % kWarp == 0) {
    shared.warp_sums[threadIdx.x / kWarp] = value;
  }
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < kWarps; ++warp) sum += shared.warp_sums[warp];
  return sum;
}

// A block is a row. x and y may be the same: an element is overwritten only by
// the thread that reads it.
__global__ void __launch_bounds__(kThreads)
    RmsNormKernel(const float* x, const float* weight, LaunchRows rows, int n,
                  float epsilon, float* y) {
  if (static_cast<int>(blockIdx.x) >= rows.live()) return;
  x += static_cast<int64_t>(blockIdx.x) * n;
  y += static_cast<int64_t>(blockIdx.x) * n;
  float sum = 0;
  for (int i = threadIdx.x; i < n; i += kThreads) sum = fmaf(x[i], x[i], sum);
  const float mean_square = BlockSum(sum) / static_cast<float>(n);
  const float scale = 1 / sqrtf(mean_square + epsilon);
  for (int i = threadIdx.x; i < n; i += kThreads) {
    y[i] = x[i] * scale * weight[i];
  }
}

// blockIdx: row, columns.
__global__ void __launch_bounds__(kThreads)
    SiluMulKernel(const float* gate_up, LaunchRows rows, int n, float* y) {
  const int column = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  const int64_t row = blockIdx.x;
  if (column >= n || row >= rows.live()) return;
  const float gate = gate_up[2 * row * n + column];
  const float up = gate_up[(2 * row + 1) * n + column];
  // A very negative gate makes the exponential infinite and the quotient zero.
  y[row * n + column] = gate / (1 + expf(-gate)) * up;
}

// blockIdx: row of y, columns.
__global__ void __launch_bounds__(kThreads)
    GatherRowsKernel(const float* x, const int32_t* indices, int n, float* y) {
  const int column = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (column >= n) return;
  const int64_t row = blockIdx.x;
  y[row * n + column] = x[static_cast<int64_t>(indices[row]) * n + column];
}

// blockIdx: tile of rows, head among [q | k | v].
template <typename Element>
__global__ void __launch_bounds__(kRopeThreads)
    RopeAndAppendKvKernel(SequenceTilesView sequences, KvLayerView kv,
                          int heads, const float* rope, float* qkv) {
  const RowTile tile = sequences.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y);
  const bool is_value = head >= heads + kv.kv_heads;
  const int half_dim = kv.head_dim / 2;
  for (int i = threadIdx.x; i < tile.rows * half_dim; i += kRopeThreads) {
    const int row = i / half_dim;
    const int pair = i % half_dim;
    const int position = tile.position + row;
    const int64_t width = heads + 2 * kv.kv_heads;
    float* const vector =
        qkv + ((tile.first_row + row) * width + head) * kv.head_dim;
    float first = vector[pair];
    float second = vector[half_dim + pair];
    if (!is_value) {
      const float* angle = rope + static_cast<int64_t>(position) * kv.head_dim;
      const float cos = angle[pair];
      const float sin = angle[half_dim + pair];
      const float rotated = fmaf(first, cos, -second * sin);
      second = fmaf(second, cos, first * sin);
      first = rotated;
      vector[pair] = first;
      vector[half_dim + pair] = second;
    }
    if (head < heads) continue;
    const int kv_head = head - heads - (is_value ? kv.kv_heads : 0);
    const int64_t piece =
        KeyPiece(kv, sequences.block_tables + tile.first_block, position,
                 kv_head) +
        (is_value ? static_cast<int64_t>(kv.kv_heads) * kv.block_tokens : 0);
    Element* const stored =
        static_cast<Element*>(kv.blocks) + piece * kv.head_dim;
    StoreElement(first, stored + pair);
    StoreElement(second, stored + half_dim + pair);
  }
}

dim3 RowsByColumns(int rows, int columns) {
  return {static_cast<unsigned>(rows),
          static_cast<unsigned>((columns + kThreads - 1) / kThreads), 1};
}

}  // namespace

cudaError_t LaunchRmsNorm(const float* x, const float* weight, LaunchRows rows,
                          int n, float epsilon, float* y, cudaStream_t stream) {
  if (rows.count() == 0) return cudaSuccess;
  return Launch(RmsNormKernel, rows.count(), kThreads, 0, stream, x, weight,
                rows, n, epsilon, y);
}

cudaError_t LaunchSiluMul(const float* gate_up, LaunchRows rows, int n,
                          float* y, cudaStream_t stream) {
  if (rows.count() == 0) return cudaSuccess;
  return Launch(SiluMulKernel, RowsByColumns(rows.count(), n), kThreads, 0,
                stream, gate_up, rows, n, y);
}

cudaError_t LaunchGatherRows(const float* x, const int32_t* indices, int count,
                             int n, float* y, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  return Launch(GatherRowsKernel, RowsByColumns(count, n), kThreads, 0, stream,
                x, indices, n, y);
}

cudaError_t LaunchRopeAndAppendKv(const SequenceTilesView& sequences,
                                  const KvLayerView& kv, int heads,
                                  const float* rope, float* qkv,
                                  cudaStream_t stream) {
  if (sequences.num_tiles == 0) return cudaSuccess;
  const dim3 grid = {static_cast<unsigned>(sequences.num_tiles),
                     static_cast<unsigned>(heads + 2 * kv.kv_heads), 1};
  return Launch(
      kv.half ? RopeAndAppendKvKernel<__half> : RopeAndAppendKvKernel<float>,
      grid, kRopeThreads, 0, stream, sequences, kv, heads, rope, qkv);
}

}  // namespace anyprec
