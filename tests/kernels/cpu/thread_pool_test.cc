#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <limits>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {
 protected:
  ThreadPool pool_{ThreadPool::Options{.threads = GetParam()}};
};

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 4));

TEST_P(ThreadPoolTest, CountsTheCallerAmongItsThreads) {
  EXPECT_EQ(pool_.threads(), GetParam());
}

TEST_P(ThreadPoolTest, VisitsEveryIndexOnceWhateverSizeAndGrain) {
  for (const size_t n : {0, 1, 2, 7, 64, 1000, 4097}) {
    for (const size_t grain : {1, 3, 64, 5000}) {
      std::vector<std::atomic<int>> visits(n);
      pool_.ParallelFor(n, grain, [&](size_t begin, size_t end) {
        EXPECT_LT(begin, end);
        for (size_t i = begin; i < end; ++i) ++visits[i];
      });
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(visits[i], 1) << n << " " << i;
    }
  }
}

TEST_P(ThreadPoolTest, RangesBeginAndEndAtMultiplesOfTheGrain) {
  constexpr size_t kSize = 1001;
  pool_.ParallelFor(kSize, 8, [&](size_t begin, size_t end) {
    EXPECT_EQ(begin % 8, 0u);
    EXPECT_TRUE(end % 8 == 0 || end == kSize);
  });
}

TEST_P(ThreadPoolTest, CoversSizesNearTheLargestWithoutOverflow) {
  constexpr size_t kSize = std::numeric_limits<size_t>::max();
  std::atomic<size_t> covered = 0;
  pool_.ParallelFor(kSize, size_t{1} << 40,
                    [&](size_t begin, size_t end) { covered += end - begin; });
  EXPECT_EQ(covered, kSize);
}

TEST_P(ThreadPoolTest, ManyShortLoopsSeeEachOthersResults) {
  std::vector<int> values(100, 0);
  for (int loop = 0; loop < 2000; ++loop) {
    pool_.ParallelFor(values.size(), 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) values[i] += 1;
    });
    ASSERT_EQ(values[loop % 100], loop + 1);
  }
}

TEST_P(ThreadPoolTest, NestedLoopsRunOnTheThreadThatCallsThem) {
  std::atomic<int> visits = 0;
  pool_.ParallelFor(8, 1, [&](size_t begin, size_t end) {
    const std::thread::id outer = std::this_thread::get_id();
    for (size_t i = begin; i < end; ++i) {
      pool_.ParallelFor(5, 1, [&](size_t inner_begin, size_t inner_end) {
        EXPECT_EQ(std::this_thread::get_id(), outer);
        visits += static_cast<int>(inner_end - inner_begin);
      });
    }
  });
  EXPECT_EQ(visits, 40);
}

TEST_P(ThreadPoolTest, SleepingWorkersWakeForTheNextLoop) {
  // Each range waits for another thread to arrive, so the loop ends only if
  // every worker takes part, after a sleep too.
  for (int loop = 0; loop < 3; ++loop) {
    std::mutex mutex;
    std::set<std::thread::id> arrived;
    const auto everyone_is_here = [&] {
      std::lock_guard<std::mutex> lock(mutex);
      arrived.insert(std::this_thread::get_id());
      return static_cast<int>(arrived.size()) == GetParam();
    };
    pool_.ParallelFor(GetParam(), 1, [&](size_t, size_t) {
      while (!everyone_is_here()) std::this_thread::yield();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST(ThreadPoolOptionsTest, TakesAtLeastOneThreadByDefault) {
  EXPECT_GE(ThreadPool(ThreadPool::Options()).threads(), 1);
}

TEST(ThreadPoolOptionsTest, PinnedPoolsRunLoopsToo) {
  ThreadPool pool({.threads = 3, .pin = true});
  std::atomic<size_t> covered = 0;
  pool.ParallelFor(1000, 1,
                   [&](size_t begin, size_t end) { covered += end - begin; });
  EXPECT_EQ(covered, 1000u);
}

}  // namespace
}  // namespace anyprec
