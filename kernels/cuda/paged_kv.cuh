// What kernels see of a step: which rows belong together, where they stand, and
// one layer of the paged KV cache. Plain data for host and device code alike.
#ifndef ANYPREC_KERNELS_CUDA_PAGED_KV_CUH_
#define ANYPREC_KERNELS_CUDA_PAGED_KV_CUH_

#include <cstdint>

namespace anyprec {

// Consecutive rows of one sequence that a thread block takes together.
struct RowTile {
  int32_t first_row;    // in the activation matrices
  int32_t rows;         // none in a tile that only fills up a launch
  int32_t position;     // of the first row; the others follow it
  int32_t first_block;  // where the sequence's table begins in block_tables
  int32_t first_slot;   // slots of attention (attention.cuh) of tiles before
};

inline bool operator==(const RowTile& a, const RowTile& b) {
  return a.first_row == b.first_row && a.rows == b.rows &&
         a.position == b.position && a.first_block == b.first_block &&
         a.first_slot == b.first_slot;
}

struct SequenceTilesView {
  const RowTile* tiles = nullptr;         // [num_tiles], device memory
  const int32_t* block_tables = nullptr;  // of all sequences, device memory
  int num_tiles = 0;
};

// A key or value [head_dim] lies in one piece, as do those of one head in one
// block:
//
//   [num_blocks] [keys, values] [kv_heads] [block_tokens] [head_dim]
struct KvLayerView {
  // Device memory, aligned to 16 bytes where head_dim is a multiple of 8, else
  // to a pair of elements.
  void* blocks = nullptr;
  bool half = false;  // fp16 elements, else fp32
  int kv_heads = 0;
  int head_dim = 0;
  int block_tokens = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_PAGED_KV_CUH_
