// SequenceTiles: the sequences of a step, as paged_kv.cuh describes them to
// kernels, in device memory.
//
// Thread-compatible.
#ifndef ANYPREC_KERNELS_CUDA_SEQUENCE_TILES_H_
#define ANYPREC_KERNELS_CUDA_SEQUENCE_TILES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/paged_kv.cuh"
#include "kernels/cuda/scratch_memory.h"

namespace anyprec {

// Sequences cut into tiles of up to max_tile_rows rows, and the parts of their
// block tables that hold positions.
struct TiledSequences {
  std::vector<RowTile> tiles;
  std::vector<int32_t> block_tables;
};

// REQUIRES: each table covers its sequence with blocks in [0, num_blocks).
TiledSequences TileSequences(std::span<const SequenceRows> sequences,
                             int max_tile_rows, const KvLayout& layout);

class SequenceTiles {
 public:
  // Room for `rows` rows and for block tables of `blocks` together, so that
  // Update() takes no more memory for them.
  absl::Status Reserve(int rows, size_t blocks, CudaStream& stream);

  // Brings the device up to date with `sequences`, cut as by TileSequences(),
  // behind all work of `stream`. The layers of a step ask for the same ones one
  // after the other: only the first of them copies.
  absl::Status Update(std::span<const SequenceRows> sequences,
                      int max_tile_rows, const KvLayout& layout,
                      CudaStream& stream);

  std::span<const RowTile> tiles() const { return current_.tiles; }

  // All of tiles() and their block tables, in device memory.
  SequenceTilesView view() const { return view_; }

 private:
  TiledSequences current_;
  int num_blocks_ = 0;  // of the layout that current_ is of
  SequenceTilesView view_;
  ScratchMemory memory_{"block tables"};  // tiles, then block tables
};

// Tiles [first, first + count) that one launch takes.
struct TileBatch {
  int first = 0;
  int count = 0;
  int slots = 0;
  int max_tile_rows = 0;
  int splits = 0;  // of the longest sequence

  bool operator==(const TileBatch&) const = default;
};

// Cuts `tiles` into batches whose scratch (AttentionSlotFloats) stays within
// `max_floats`; a tile that needs more by itself is a batch of its own.
std::vector<TileBatch> CutIntoBatches(std::span<const RowTile> tiles, int heads,
                                      int head_dim, size_t max_floats);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_SEQUENCE_TILES_H_
