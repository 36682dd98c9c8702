#include "kernels/cuda/sequence_tiles.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// Appends the blocks that hold positions [0, positions) of a sequence.
void AppendTable(const SequenceRows& sequence, int positions,
                 const KvLayout& layout, std::vector<int32_t>& tables) {
  const size_t blocks =
      (positions + layout.block_tokens - 1) / layout.block_tokens;
  ANYPREC_CHECK(sequence.blocks.size() >= blocks)
      << sequence.blocks.size() << " blocks for " << positions << " positions";
  for (const int32_t block : sequence.blocks.first(blocks)) {
    ANYPREC_CHECK(block >= 0 && block < layout.num_blocks)
        << "block " << block << " of " << layout.num_blocks;
    tables.push_back(block);
  }
}

size_t ScratchFloats(const TileBatch& batch, int heads, int head_dim) {
  return batch.rows * AttentionScratchFloats(heads, head_dim, batch.splits);
}

// `batch` with one tile more.
TileBatch WithTile(TileBatch batch, const RowTile& tile) {
  ++batch.count;
  batch.rows += tile.rows;
  batch.max_tile_rows = std::max(batch.max_tile_rows, tile.rows);
  batch.splits =
      std::max(batch.splits, AttentionSplits(tile.position + tile.rows));
  return batch;
}

}  // namespace

TiledSequences TileSequences(std::span<const SequenceRows> sequences,
                             int max_tile_rows, const KvLayout& layout) {
  TiledSequences tiled;
  int index = 0;
  for (const SequenceRows& sequence : sequences) {
    const auto first_block = static_cast<int32_t>(tiled.block_tables.size());
    for (int row = 0; row < sequence.rows; row += max_tile_rows) {
      const int rows = std::min(max_tile_rows, sequence.rows - row);
      tiled.tiles.push_back({.first_row = sequence.first_row + row,
                             .rows = rows,
                             .position = sequence.position + row,
                             .first_block = first_block,
                             .first_index = index});
      index += rows;
    }
    AppendTable(sequence, sequence.position + sequence.rows, layout,
                tiled.block_tables);
  }
  return tiled;
}

absl::Status SequenceTiles::Update(std::span<const SequenceRows> sequences,
                                   int max_tile_rows, const KvLayout& layout,
                                   CudaStream& stream) {
  TiledSequences wanted = TileSequences(sequences, max_tile_rows, layout);
  if (wanted == current_) return absl::OkStatus();
  current_ = {};  // should any of the following fail
  view_ = {};
  const size_t tile_bytes = wanted.tiles.size() * sizeof(RowTile);
  const size_t table_bytes = wanted.block_tables.size() * sizeof(int32_t);
  ASSIGN_OR_RETURN(void* const memory,
                   memory_.Reserve(tile_bytes + table_bytes, stream));
  void* const tables = static_cast<char*>(memory) + tile_bytes;
  RETURN_IF_ERROR(stream.Upload(wanted.tiles.data(), tile_bytes, memory));
  RETURN_IF_ERROR(
      stream.Upload(wanted.block_tables.data(), table_bytes, tables));
  current_ = std::move(wanted);
  view_ = {.tiles = static_cast<const RowTile*>(memory),
           .block_tables = static_cast<const int32_t*>(tables),
           .num_tiles = static_cast<int>(current_.tiles.size())};
  return absl::OkStatus();
}

std::vector<TileBatch> CutIntoBatches(std::span<const RowTile> tiles, int heads,
                                      int head_dim, size_t max_floats) {
  std::vector<TileBatch> batches;
  TileBatch batch;
  for (size_t i = 0; i < tiles.size(); ++i) {
    TileBatch larger = WithTile(batch, tiles[i]);
    if (batch.count > 0 &&
        ScratchFloats(larger, heads, head_dim) > max_floats) {
      batches.push_back(batch);
      larger = WithTile({.first = static_cast<int>(i)}, tiles[i]);
    }
    batch = larger;
  }
  if (batch.count > 0) batches.push_back(batch);
  return batches;
}

}  // namespace anyprec
