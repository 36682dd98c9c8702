#include "runtime/kv/prefix_cache.h"

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr int kBlockTokens = 2;

// A pool of a few blocks and its cache.
class PrefixCacheTest : public testing::Test {
 protected:
  int32_t Allocate() {
    std::vector<int32_t> table;
    EXPECT_TRUE(pool_.Allocate(1, table));
    return table.at(0);
  }

  BlockPool pool_{4, kBlockTokens};
  PrefixCache cache_{pool_};
  const std::vector<TokenId> one_{1, 2};
  const std::vector<TokenId> two_{3, 4};
};

TEST_F(PrefixCacheTest, KnowsABlockByItsTokensPrecisionAndTheBlockBefore) {
  const int32_t first = Allocate();
  EXPECT_EQ(cache_.Add({.bits = 4, .tokens = one_}, first), first);
  const int32_t second = Allocate();
  cache_.Add({.previous = first, .bits = 4, .tokens = two_}, second);
  EXPECT_EQ(cache_.Find({.bits = 4, .tokens = one_}), first);
  EXPECT_EQ(cache_.Find({.previous = first, .bits = 4, .tokens = two_}),
            second);
  EXPECT_EQ(cache_.Find({.bits = 5, .tokens = one_}), std::nullopt);
  EXPECT_EQ(cache_.Find({.bits = 4, .tokens = two_}), std::nullopt);
  EXPECT_EQ(cache_.Find({.previous = second, .bits = 4, .tokens = two_}),
            std::nullopt);
}

TEST_F(PrefixCacheTest, OfTwoBlocksAlikeTheFirstIsShared) {
  const int32_t first = Allocate();
  const int32_t same = Allocate();
  cache_.Add({.bits = 4, .tokens = one_}, first);
  EXPECT_EQ(cache_.Add({.bits = 4, .tokens = one_}, same), first);
  EXPECT_EQ(pool_.num_held(), 1);
  pool_.Free(std::vector{first});
  EXPECT_EQ(pool_.num_held(), 1) << "the second holder lost it";
  pool_.Free(std::vector{first});
  EXPECT_EQ(pool_.num_held(), 0);
}

TEST_F(PrefixCacheTest, RemembersWhatNobodyHoldsUntilTheRoomIsNeeded) {
  std::vector<int32_t> table;
  ASSERT_TRUE(pool_.Allocate(2, table));
  cache_.Add({.bits = 4, .tokens = one_}, table[0]);
  cache_.Add({.previous = table[0], .bits = 4, .tokens = two_}, table[1]);
  pool_.Free(table);
  EXPECT_EQ(pool_.num_free(), 4);
  std::vector<int32_t> others;
  ASSERT_TRUE(pool_.Allocate(2, others));
  EXPECT_EQ(cache_.num_blocks(), 2) << "there were two that held nothing";
  ASSERT_TRUE(pool_.Allocate(1, others));
  EXPECT_EQ(others.back(), table[1]) << "the end of a prefix goes first";
  EXPECT_EQ(cache_.Find({.previous = table[0], .bits = 4, .tokens = two_}),
            std::nullopt);
  EXPECT_EQ(cache_.Find({.bits = 4, .tokens = one_}), table[0]);
  pool_.Hold(table[0]);
  EXPECT_EQ(pool_.num_free(), 0);
  EXPECT_FALSE(pool_.Allocate(1, others));
}

TEST_F(PrefixCacheTest, GivesUpFirstWhatWasNotUsedForLongest) {
  const int32_t a = Allocate();
  const int32_t b = Allocate();
  cache_.Add({.bits = 3, .tokens = one_}, a);
  cache_.Add({.bits = 4, .tokens = one_}, b);
  pool_.Free(std::vector{a});
  pool_.Free(std::vector{b});
  pool_.Hold(a);
  pool_.Free(std::vector{a});
  std::vector<int32_t> others;
  ASSERT_TRUE(pool_.Allocate(3, others));
  EXPECT_EQ(cache_.Find({.bits = 3, .tokens = one_}), a);
  EXPECT_EQ(cache_.Find({.bits = 4, .tokens = one_}), std::nullopt);
}

using PrefixCacheDeathTest = PrefixCacheTest;

TEST_F(PrefixCacheDeathTest, RefusesABlockAfterOneThatItDoesNotKnow) {
  const int32_t first = Allocate();
  const int32_t second = Allocate();
  EXPECT_DEATH(
      cache_.Add({.previous = first, .bits = 4, .tokens = one_}, second),
      "is not here");
}

// Tables that share, keep and give up prefixes of few tokens, in a pool too
// small for all of them.
TEST(PrefixCachePropertyTest, WhatIsFoundIsWhatWasAdded) {
  constexpr int kBlocks = 40;
  BlockPool pool(kBlocks, kBlockTokens);
  PrefixCache cache(pool);
  std::mt19937 random(1);
  // What each block holds, as its last owner wrote it: a whole prefix.
  std::vector<std::vector<int>> contents(kBlocks);
  std::vector<std::vector<int32_t>> tables;
  int found = 0;
  for (int step = 0; step < 5000; ++step) {
    if (!tables.empty() && random() % 2 == 0) {
      const size_t victim = random() % tables.size();
      pool.Free(tables[victim]);
      tables.erase(tables.begin() + static_cast<long>(victim));
    }
    const int length = 1 + static_cast<int>(random() % 8);
    std::vector<int32_t> table;
    std::vector<int> prefix;
    bool known = true;
    for (int i = 0; i < length; ++i) {
      const int bits = 3 + static_cast<int>(random() % 2);
      const std::vector<TokenId> tokens = {static_cast<TokenId>(random() % 2),
                                           i};
      prefix.insert(prefix.end(), {bits, tokens[0], tokens[1]});
      const PrefixKey key = {.previous = i == 0 ? -1 : table.back(),
                             .bits = bits,
                             .tokens = tokens};
      const auto block = known ? cache.Find(key) : std::nullopt;
      if (block.has_value()) {
        ++found;
        ASSERT_EQ(contents[*block], prefix);
        pool.Hold(*block);
        table.push_back(*block);
        continue;
      }
      known = false;
      if (!pool.Allocate(1, table)) break;
      contents[table.back()] = prefix;
      const int32_t last = table.back();
      table.back() = cache.Add(key, last);
      ASSERT_EQ(contents[table.back()], prefix);
    }
    tables.push_back(table);
    std::map<int32_t, int> holders;
    for (const auto& held : tables) {
      for (const int32_t held_block : held) ++holders[held_block];
    }
    ASSERT_EQ(pool.num_held(), static_cast<int>(holders.size()));
    ASSERT_EQ(pool.num_held() + pool.num_free(), kBlocks);
  }
  EXPECT_GT(found, 1000);
}

}  // namespace
}  // namespace anyprec
