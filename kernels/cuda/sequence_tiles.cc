#include "kernels/cuda/sequence_tiles.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// The blocks that hold the positions of a sequence.
std::span<const int32_t> UsedBlocks(const SequenceRows& sequence,
                                    const KvLayout& layout) {
  const int positions = sequence.position + sequence.rows;
  const size_t blocks =
      (positions + layout.block_tokens - 1) / layout.block_tokens;
  ANYPREC_CHECK(sequence.blocks.size() >= blocks)
      << sequence.blocks.size() << " blocks for " << positions << " positions";
  return sequence.blocks.first(blocks);
}

void AppendTable(const SequenceRows& sequence, const KvLayout& layout,
                 std::vector<int32_t>& tables) {
  for (const int32_t block : UsedBlocks(sequence, layout)) {
    ANYPREC_CHECK(block >= 0 && block < layout.num_blocks)
        << "block " << block << " of " << layout.num_blocks;
    tables.push_back(block);
  }
}

// `batch` with one tile more.
TileBatch WithTile(TileBatch batch, const RowTile& tile) {
  ++batch.count;
  batch.slots += AttentionSlots(tile);
  batch.max_tile_rows = std::max(batch.max_tile_rows, tile.rows);
  batch.splits =
      std::max(batch.splits, AttentionSplits(tile.position + tile.rows));
  return batch;
}

// Calls visit(tile) for the tiles of `sequences` in order, until it returns
// false. Returns whether it never did.
template <class Visit>
bool ForEachTile(std::span<const SequenceRows> sequences, int max_tile_rows,
                 const KvLayout& layout, Visit visit) {
  int slots = 0;
  int32_t first_block = 0;
  for (const SequenceRows& sequence : sequences) {
    for (int row = 0; row < sequence.rows; row += max_tile_rows) {
      const int rows = std::min(max_tile_rows, sequence.rows - row);
      const RowTile tile = {.first_row = sequence.first_row + row,
                            .rows = rows,
                            .position = sequence.position + row,
                            .first_block = first_block,
                            .first_slot = slots};
      if (!visit(tile)) return false;
      slots += AttentionSlots(tile);
    }
    first_block += static_cast<int32_t>(UsedBlocks(sequence, layout).size());
  }
  return true;
}

// Whether TileSequences() would return `tiled`, without building it.
bool AreTiledAs(std::span<const SequenceRows> sequences, int max_tile_rows,
                const KvLayout& layout, const TiledSequences& tiled) {
  size_t tile = 0;
  if (!ForEachTile(sequences, max_tile_rows, layout,
                   [&](const RowTile& wanted) {
                     return tile < tiled.tiles.size() &&
                            tiled.tiles[tile++] == wanted;
                   }) ||
      tile != tiled.tiles.size()) {
    return false;
  }
  std::span<const int32_t> rest = tiled.block_tables;
  for (const SequenceRows& sequence : sequences) {
    const std::span<const int32_t> blocks = UsedBlocks(sequence, layout);
    if (blocks.size() > rest.size() ||
        !std::equal(blocks.begin(), blocks.end(), rest.begin())) {
      return false;
    }
    rest = rest.subspan(blocks.size());
  }
  return rest.empty();
}

}  // namespace

TiledSequences TileSequences(std::span<const SequenceRows> sequences,
                             int max_tile_rows, const KvLayout& layout) {
  TiledSequences tiled;
  ForEachTile(sequences, max_tile_rows, layout, [&](const RowTile& tile) {
    tiled.tiles.push_back(tile);
    return true;
  });
  for (const SequenceRows& sequence : sequences) {
    AppendTable(sequence, layout, tiled.block_tables);
  }
  return tiled;
}

absl::Status SequenceTiles::Reserve(int rows, size_t blocks,
                                    CudaStream& stream) {
  // At worst a tile has a single row.
  return memory_
      .Reserve(rows * sizeof(RowTile) + blocks * sizeof(int32_t), stream)
      .status();
}

absl::Status SequenceTiles::Update(std::span<const SequenceRows> sequences,
                                   int max_tile_rows, const KvLayout& layout,
                                   CudaStream& stream) {
  // Blocks were checked against num_blocks when they were tiled.
  if (layout.num_blocks == num_blocks_ &&
      AreTiledAs(sequences, max_tile_rows, layout, current_)) {
    return absl::OkStatus();
  }
  TiledSequences wanted = TileSequences(sequences, max_tile_rows, layout);
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
  num_blocks_ = layout.num_blocks;
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
        larger.slots * AttentionSlotFloats(heads, head_dim) > max_floats) {
      batches.push_back(batch);
      larger = WithTile({.first = static_cast<int>(i)}, tiles[i]);
    }
    batch = larger;
  }
  if (batch.count > 0) batches.push_back(batch);
  return batches;
}

}  // namespace anyprec
