#include "runtime/kv/block_pool.h"

#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

TEST(BlockPoolTest, HandsOutEveryBlockOnce) {
  BlockPool pool(17, 16);
  std::vector<int32_t> table;
  ASSERT_TRUE(pool.Allocate(17, table));
  const std::set<int32_t> distinct(table.begin(), table.end());
  EXPECT_EQ(distinct.size(), 17u);
  EXPECT_EQ(*distinct.begin(), 0);
  EXPECT_EQ(*distinct.rbegin(), 16);
  EXPECT_EQ(pool.num_free(), 0);
}

TEST(BlockPoolTest, ChangesNothingWhereTooFewAreFree) {
  BlockPool pool(4, 16);
  std::vector<int32_t> table;
  ASSERT_TRUE(pool.Allocate(3, table));
  EXPECT_FALSE(pool.Allocate(2, table));
  EXPECT_EQ(table.size(), 3u);
  EXPECT_EQ(pool.num_free(), 1);
}

TEST(BlockPoolTest, AppendsToATable) {
  BlockPool pool(4, 16);
  std::vector<int32_t> table;
  ASSERT_TRUE(pool.Allocate(1, table));
  const int32_t first = table[0];
  ASSERT_TRUE(pool.Allocate(2, table));
  EXPECT_EQ(table.size(), 3u);
  EXPECT_EQ(table[0], first);
}

TEST(BlockPoolTest, CountsBlocksOfTokensRoundingUp) {
  const BlockPool pool(1, 16);
  EXPECT_EQ(pool.BlocksFor(0), 0);
  EXPECT_EQ(pool.BlocksFor(1), 1);
  EXPECT_EQ(pool.BlocksFor(16), 1);
  EXPECT_EQ(pool.BlocksFor(17), 2);
}

TEST(BlockPoolTest, ConservesBlocksUnderRandomUse) {
  constexpr int kBlocks = 50;
  BlockPool pool(kBlocks, 16);
  std::mt19937 random(1);
  std::vector<std::vector<int32_t>> tables;
  for (int step = 0; step < 20000; ++step) {
    if (random() % 2 == 0) {
      std::vector<int32_t> table;
      const int wanted = static_cast<int>(random() % 12);
      const int free = pool.num_free();
      EXPECT_EQ(pool.Allocate(wanted, table), wanted <= free);
      tables.push_back(table);
    } else if (!tables.empty()) {
      const size_t victim = random() % tables.size();
      pool.Free(tables[victim]);
      tables.erase(tables.begin() + static_cast<long>(victim));
    }
    std::set<int32_t> held;
    size_t listed = 0;
    for (const auto& table : tables) {
      held.insert(table.begin(), table.end());
      listed += table.size();
    }
    ASSERT_EQ(held.size(), listed) << "a block is held twice";
    ASSERT_EQ(static_cast<int>(listed), pool.num_held());
    ASSERT_EQ(pool.num_free() + pool.num_held(), kBlocks);
  }
}

TEST(BlockPoolDeathTest, RefusesToFreeABlockTwice) {
  BlockPool pool(4, 16);
  std::vector<int32_t> table;
  ASSERT_TRUE(pool.Allocate(1, table));
  pool.Free(table);
  EXPECT_DEATH(pool.Free(table), "not held");
}

}  // namespace
}  // namespace anyprec
