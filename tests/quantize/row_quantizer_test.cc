#include "quantize/row_quantizer.h"

#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

TEST(RowFormatTest, LaysCodebooksOutInAscendingPrecision) {
  const RowFormat format = {.range = {3, 5}};
  EXPECT_EQ(format.range.count(), 3);
  EXPECT_EQ(format.Fields(96), (std::vector<size_t>{8, 16, 32}));
  EXPECT_EQ(format.ValuesPerRow(96), 56u);
}

TEST(RowFormatTest, LaysScalesOutGroupByGroup) {
  const RowFormat format = {
      .range = {2, 3}, .scheme = Scheme::kBinaryCoded, .group_size = 64};
  // Groups of 64 and 32 columns.
  EXPECT_EQ(format.Fields(96), (std::vector<size_t>{4, 2, 6, 2}));
  EXPECT_EQ(format.ValuesPerRow(96), 14u);
  EXPECT_EQ(format.ValuesPerRow(96),
            2 * (format.ValuesOf(2) + format.ValuesOf(3)));
  // A group that is wider than the row.
  EXPECT_EQ(format.ValuesPerRow(32), 7u);
}

}  // namespace
}  // namespace anyprec
