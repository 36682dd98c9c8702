#include "kernels/cuda/step_table.h"

#include <algorithm>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/sequence_tiles.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// Taken at once: block tables of 250,000 tokens in blocks of 16. A table that
// moves costs every graph that was recorded with it.
constexpr size_t kLeastBytes = size_t{64} << 10;

// What a table begins with; block tables follow, one after the other.
struct Head {
  int32_t rows = 0;
  int32_t slice_count = 0;
  int32_t tokens[kMaxTableRows] = {};
  DecodeSlice slices[kMaxTableRows] = {};
  RowTile tiles[kMaxTableRows] = {};
};

//   slots  of all tiles
Head MakeHead(const StepRows& step, std::span<const RowTile> tiles, int slots,
              int max_slice_rows) {
  Head head;
  head.rows = static_cast<int32_t>(step.tokens.size());
  std::ranges::copy(step.tokens, head.tokens);
  const std::vector<DecodeSlice> slices =
      SliceGroups(step.groups, max_slice_rows);
  head.slice_count = static_cast<int32_t>(slices.size());
  std::ranges::copy(slices, head.slices);
  RowTile* const end = std::ranges::copy(tiles, head.tiles).out;
  std::ranges::fill(end, std::end(head.tiles), RowTile{.first_slot = slots});
  return head;
}

}  // namespace

std::vector<DecodeSlice> SliceGroups(std::span<const RowGroup> groups,
                                     int max_slice_rows) {
  std::vector<DecodeSlice> slices;
  for (const RowGroup& group : groups) {
    for (int row = group.begin; row < group.end; row += max_slice_rows) {
      slices.push_back({.first_row = row,
                        .rows = std::min(max_slice_rows, group.end - row),
                        .precision = group.precision});
    }
  }
  return slices;
}

absl::Status StepTable::Reserve(int sequences, int blocks, CudaStream& stream) {
  const size_t table_bytes =
      size_t{1} * std::min(sequences, kMaxTableRows) * blocks * sizeof(int32_t);
  return memory_
      .Reserve(std::max(sizeof(Head) + table_bytes, kLeastBytes), stream)
      .status();
}

absl::Status StepTable::Update(const StepRows& step, int max_rows,
                               int max_precision, const KvLayout& layout,
                               CudaStream& stream) {
  const TiledSequences tiled =
      TileSequences(step.sequences, /*max_tile_rows=*/1, layout);
  const size_t rows = step.tokens.size();
  ANYPREC_CHECK(rows > 0 && rows <= static_cast<size_t>(max_rows) &&
                max_rows <= kMaxTableRows && tiled.tiles.size() == rows)
      << rows << " rows of " << tiled.tiles.size() << " in sequences, for "
      << max_rows;
  const RowTile& last = tiled.tiles.back();
  slots_ = last.first_slot + AttentionSlots(last);
  const Head head = MakeHead(step, tiled.tiles, slots_, MaxSliceRows(max_rows));
  const size_t table_bytes = tiled.block_tables.size() * sizeof(int32_t);
  staged_.resize(sizeof(Head) + table_bytes);
  std::memcpy(staged_.data(), &head, sizeof(Head));
  std::memcpy(staged_.data() + sizeof(Head), tiled.block_tables.data(),
              table_bytes);
  ASSIGN_OR_RETURN(
      void* const memory,
      memory_.Reserve(std::max(staged_.size(), kLeastBytes), stream));
  RETURN_IF_ERROR(stream.Upload(staged_.data(), staged_.size(), memory));
  const auto* const on_device = static_cast<const Head*>(memory);
  view_ = {.memory = memory,
           .rows = LaunchRows(max_rows, &on_device->rows),
           .tokens = on_device->tokens,
           .slices = {.slices = on_device->slices,
                      .count = &on_device->slice_count,
                      .max_rows = max_rows,
                      .max_precision = max_precision},
           .sequences = {
               .tiles = on_device->tiles,
               .block_tables = reinterpret_cast<const int32_t*>(on_device + 1),
               .num_tiles = max_rows}};
  return absl::OkStatus();
}

}  // namespace anyprec
