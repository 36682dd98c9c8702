#include "kernels/cuda/step_table.h"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/emulation/runtime.h"

namespace anyprec {

bool operator==(const DecodeSlice& a, const DecodeSlice& b) {
  return a.first_row == b.first_row && a.rows == b.rows &&
         a.precision == b.precision;
}

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SliceGroupsTest, SlicesAreOfOneGroupAlone) {
  const std::vector<RowGroup> groups = {{0, 9, 3}, {9, 10, 8}, {10, 14, 3}};
  EXPECT_THAT(SliceGroups(groups, 4),
              ElementsAre(DecodeSlice{0, 4, 3}, DecodeSlice{4, 4, 3},
                          DecodeSlice{8, 1, 3}, DecodeSlice{9, 1, 8},
                          DecodeSlice{10, 4, 3}));
  EXPECT_THAT(SliceGroups({}, 4), IsEmpty());
}

class StepTableTest : public testing::Test {
 protected:
  static constexpr KvLayout kLayout = {.layers = 1,
                                       .kv_heads = 1,
                                       .head_dim = 8,
                                       .block_tokens = 64,
                                       .num_blocks = 10};

  StepTableTest() {
    emulation::ResetDevice();
    stream_ = *CudaStream::Create(0);
  }
  ~StepTableTest() override {
    stream_.reset();
    emulation::ResetDevice();
  }

  template <class T>
  std::vector<T> Read(const T* data, size_t count) {
    const auto read = stream_->Download(data, count);
    EXPECT_TRUE(read.ok()) << read.status();
    return {read->begin(), read->end()};
  }

  // For up to four rows at up to 6 bits.
  void Update(const std::vector<int32_t>& tokens,
              const std::vector<SequenceRows>& sequences,
              const std::vector<RowGroup>& groups) {
    const absl::Status status = table_.Update(
        {.tokens = tokens, .sequences = sequences, .groups = groups}, 4, 6,
        kLayout, *stream_);
    ASSERT_TRUE(status.ok()) << status;
  }

  std::unique_ptr<CudaStream> stream_;
  StepTable table_;
};

TEST_F(StepTableTest, HasATileForEveryRowAndForThoseThatThereAreNot) {
  const std::vector<int32_t> first = {7, 3, 5}, second = {1, 9};
  Update({11, 12, 13}, {{0, 2, 127, first}, {2, 1, 60, second}},
         {{0, 2, 6}, {2, 3, 4}});
  const StepTableView& view = table_.view();
  EXPECT_EQ(view.rows.count(), 4);
  EXPECT_EQ(Read(view.tokens, 3), (std::vector<int32_t>{11, 12, 13}));
  EXPECT_EQ(view.slices.max_rows, 4);
  EXPECT_EQ(view.slices.max_precision, 6);
  EXPECT_THAT(Read(view.slices.count, 1), ElementsAre(2));
  EXPECT_THAT(Read(view.slices.slices, 2),
              ElementsAre(DecodeSlice{0, 2, 6}, DecodeSlice{2, 1, 4}));
  EXPECT_EQ(view.sequences.num_tiles, 4);
  // Position 128 is the second split's first.
  EXPECT_THAT(Read(view.sequences.tiles, 4),
              ElementsAre(RowTile{0, 1, 127, 0, 0}, RowTile{1, 1, 128, 0, 1},
                          RowTile{2, 1, 60, 3, 3}, RowTile{0, 0, 0, 0, 4}));
  EXPECT_EQ(table_.slots(), 4);
  EXPECT_THAT(Read(view.sequences.block_tables, 4), ElementsAre(7, 3, 5, 1));
}

TEST_F(StepTableTest, StaysWhereItIsForAStepThatFits) {
  const std::vector<int32_t> blocks = {7, 3, 5};
  Update({1, 2, 3, 4}, {{0, 4, 180, blocks}}, {{0, 4, 6}});
  const StepTableView before = table_.view();
  Update({5}, {{0, 1, 3, blocks}}, {{0, 1, 3}});
  const StepTableView& after = table_.view();
  EXPECT_EQ(after.memory, before.memory);
  EXPECT_EQ(after.tokens, before.tokens);
  EXPECT_EQ(after.slices.slices, before.slices.slices);
  EXPECT_EQ(after.sequences.tiles, before.sequences.tiles);
  EXPECT_EQ(after.sequences.block_tables, before.sequences.block_tables);
  EXPECT_THAT(Read(after.tokens, 1), ElementsAre(5));
  EXPECT_THAT(Read(after.slices.count, 1), ElementsAre(1));
  EXPECT_EQ(table_.slots(), 1);
}

// No row is left to fill up with.
TEST_F(StepTableTest, CountsTheSlotsOfAFullTable) {
  const std::vector<int32_t> blocks = {7, 3, 5};
  const std::vector<int32_t> tokens(kMaxTableRows);
  const std::vector<SequenceRows> sequences = {{0, kMaxTableRows, 100, blocks}};
  const std::vector<RowGroup> groups = {{0, kMaxTableRows, 3}};
  ASSERT_TRUE(
      table_
          .Update({.tokens = tokens, .sequences = sequences, .groups = groups},
                  kMaxTableRows, 3, kLayout, *stream_)
          .ok());
  // 28 rows up to position 127 see one split.
  EXPECT_EQ(table_.slots(), 28 + 2 * (kMaxTableRows - 28));
}

}  // namespace
}  // namespace anyprec
