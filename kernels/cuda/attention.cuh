// Causal grouped-query attention over the paged KV cache on a GPU, in the
// manner of flash-decoding (Dao et al., 2023).
//
// A sequence's positions are cut into splits of kAttentionSplitTokens. One
// kernel gives each split of each tile of queries to a thread block of its own,
// which leaves a maximum, a sum and an unscaled output; another adds these up
// in the order of the splits. Splits begin at fixed positions, and no sum
// crosses a query, so that a row's result depends on nothing but its own
// sequence and position, bit for bit.
#ifndef ANYPREC_KERNELS_CUDA_ATTENTION_CUH_
#define ANYPREC_KERNELS_CUDA_ATTENTION_CUH_

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>

#include "kernels/cuda/paged_kv.cuh"

namespace anyprec {

// Positions in a split. At 128 values a head in fp16 a split's keys and values
// are 64 KB, its results 0.5 KB for each query; and a context of 1024 already
// makes 8 blocks out of one KV head, so that 32 heads fill a GPU.
inline constexpr int kAttentionSplitTokens = 128;

// The largest head that the kernels' shared memory has room for.
inline constexpr int kMaxAttentionHeadDim = 256;

// Queries of one KV head that a block takes together: it loads keys and values
// once for all of them. A query is a head of a row; a group of up to 8 heads
// lets a tile span several rows, a larger one is cut.
inline constexpr int kMaxTileQueries = 8;

// The most rows that a tile may have, heads and kv_heads being the layer's.
inline int MaxTileRows(int heads, int kv_heads) {
  return std::max(1, kMaxTileQueries * kv_heads / heads);
}

// Splits that hold the positions [0, positions).
constexpr int AttentionSplits(int positions) {
  return (positions + kAttentionSplitTokens - 1) / kAttentionSplitTokens;
}

// A slot holds what one split contributes to all heads of one row. A tile has
// one for each of its rows and each split that the last of them sees.
constexpr int AttentionSlots(const RowTile& tile) {
  return tile.rows * AttentionSplits(tile.position + tile.rows);
}

// Of a slot in AttentionArgs::scratch.
inline size_t AttentionSlotFloats(int heads, int head_dim) {
  return static_cast<size_t>(heads) * (head_dim + 2);
}

struct AttentionArgs {
  SequenceTilesView sequences;  // num_tiles of them, from `tiles` on
  int max_tile_rows = 0;        // at most MaxTileRows(heads, kv.kv_heads)
  int first_slot = 0;           // of the first tile
  KvLayerView kv;               // head_dim even, at most kMaxAttentionHeadDim
  int heads = 0;                // a multiple of kv.kv_heads
  const float* qkv = nullptr;   // [.., (heads + 2 kv_heads) head_dim], rotated
  float* y = nullptr;           // [.., heads * head_dim]
  // AttentionSlotFloats() for each slot of the tiles, free until the launch has
  // run.
  float* scratch = nullptr;
};

// y = softmax(q . keys / sqrt(head_dim)) values, for each head of each row of
// the tiles, over the positions up to its own. Enqueues on `stream`; returns
// the launches' own errors.
//   splits  AttentionSplits() of the longest sequence
cudaError_t LaunchAttention(const AttentionArgs& args, int splits,
                            cudaStream_t stream);

// The same for tiles of at most one row whose positions the device alone knows:
// a launch for a graph. Blocks take the splits in turn.
//   max_splits  AttentionSplits() of the longest sequence that there can be
cudaError_t LaunchDecodeAttention(const AttentionArgs& args, int max_splits,
                                  cudaStream_t stream);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_ATTENTION_CUH_
