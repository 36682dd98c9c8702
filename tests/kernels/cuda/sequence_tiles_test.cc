#include "kernels/cuda/sequence_tiles.h"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/emulation/runtime.h"

namespace anyprec {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

constexpr KvLayout kLayout = {.layers = 1,
                              .kv_heads = 1,
                              .head_dim = 8,
                              .block_tokens = 4,
                              .num_blocks = 10};

TEST(SequenceTilesTest, TilesHoldRowsOfOneSequenceAlone) {
  const std::vector<int32_t> first = {7, 3, 5};
  const std::vector<int32_t> second = {1, 9};
  const std::vector<SequenceRows> sequences = {{0, 5, 2, first},
                                               {5, 1, 7, second}};
  const TiledSequences tiled = TileSequences(sequences, 2, kLayout);
  EXPECT_THAT(tiled.tiles,
              ElementsAre(RowTile{0, 2, 2, 0, 0},  //
                          RowTile{2, 2, 4, 0, 2}, RowTile{4, 1, 6, 0, 4},
                          RowTile{5, 1, 7, 2, 5}));
  // Positions up to 6 need two blocks of the first table's three.
  EXPECT_THAT(tiled.block_tables, ElementsAre(7, 3, 1, 9));
}

TEST(SequenceTilesTest, CopiesOnlyWhatChanged) {
  const auto stream = CudaStream::Create(0);
  ASSERT_TRUE(stream.ok()) << stream.status();
  SequenceTiles tiles;
  std::vector<int32_t> blocks = {7, 3};
  const auto update = [&] {
    const SequenceRows sequence = {0, 1, 5, blocks};
    return tiles.Update({&sequence, 1}, 1, kLayout, **stream);
  };
  ASSERT_TRUE(update().ok());
  EXPECT_EQ(tiles.view().num_tiles, 1);
  // No copy, hence no error.
  emulation::FailCall("cudaMemcpyAsync", 1, cudaErrorLaunchFailure);
  EXPECT_TRUE(update().ok());
  // The same span, other contents.
  blocks[1] = 4;
  EXPECT_FALSE(update().ok());
  EXPECT_EQ(tiles.view().num_tiles, 0);
  emulation::ResetDevice();
}

// From every step to every other, each unlike the first in one respect.
TEST(SequenceTilesTest, FollowsWhateverChanges) {
  const auto stream = CudaStream::Create(0);
  ASSERT_TRUE(stream.ok()) << stream.status();
  const std::vector<int32_t> a = {7, 3, 5}, b = {1, 9, 2}, other = {7, 4, 5};
  const std::vector<std::vector<SequenceRows>> steps = {
      {{0, 1, 5, a}, {1, 1, 7, b}},      // the first
      {{0, 1, 5, other}, {1, 1, 7, b}},  // another table
      {{0, 1, 6, a}, {1, 1, 7, b}},      // a later position in the same block
      {{0, 1, 5, a}, {1, 1, 8, b}},      // one in the next block
      {{0, 2, 5, a}, {2, 1, 7, b}},      // more rows
      {{1, 1, 5, a}, {0, 1, 7, b}},      // other rows
      {{0, 1, 5, a}},
      {},
  };
  SequenceTiles tiles;
  for (const auto& before : steps) {
    for (const auto& after : steps) {
      ASSERT_TRUE(tiles.Update(before, 1, kLayout, **stream).ok());
      ASSERT_TRUE(tiles.Update(after, 1, kLayout, **stream).ok());
      const TiledSequences want = TileSequences(after, 1, kLayout);
      EXPECT_THAT(tiles.tiles(), ElementsAreArray(want.tiles));
      std::vector<int32_t> tables(want.block_tables.size());
      ASSERT_TRUE((*stream)->Synchronize().ok());
      ASSERT_EQ(cudaMemcpyAsync(tables.data(), tiles.view().block_tables,
                                tables.size() * sizeof(int32_t),
                                cudaMemcpyDeviceToHost, /*stream=*/nullptr),
                cudaSuccess);
      ASSERT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
      EXPECT_EQ(tables, want.block_tables);
    }
  }
}

TEST(SequenceTilesTest, BatchesStayWithinTheirScratch) {
  std::vector<RowTile> tiles;
  for (int i = 0; i < 10; ++i) {
    tiles.push_back({.first_row = 2 * i, .rows = 2, .position = 100 * i});
  }
  constexpr int kHeads = 3;
  constexpr int kHeadDim = 8;
  const size_t slot_floats = AttentionSlotFloats(kHeads, kHeadDim);
  const size_t limit = 32 * slot_floats;
  int next = 0;
  for (const TileBatch& batch :
       CutIntoBatches(tiles, kHeads, kHeadDim, limit)) {
    EXPECT_EQ(batch.first, next);
    EXPECT_EQ(batch.max_tile_rows, 2);
    int slots = 0;
    for (int i = 0; i < batch.count; ++i)
      slots += AttentionSlots(tiles[next++]);
    EXPECT_EQ(batch.slots, slots);
    EXPECT_EQ(batch.splits, AttentionSplits(100 * (next - 1) + 2));
    EXPECT_LE(batch.slots * slot_floats, limit);
  }
  EXPECT_EQ(next, 10);
  // A tile that needs more is taken all the same.
  EXPECT_EQ(CutIntoBatches(tiles, kHeads, kHeadDim, 1).size(), 10u);
  EXPECT_TRUE(CutIntoBatches({}, kHeads, kHeadDim, limit).empty());
}

}  // namespace
}  // namespace anyprec
