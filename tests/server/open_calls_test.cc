#include "server/open_calls.h"

#include <gtest/gtest.h>

#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace anyprec {
namespace {

TEST(OpenCallsTest, ThereIsNothingToAwaitAtFirst) {
  OpenCalls calls;
  EXPECT_TRUE(calls.AwaitNone(absl::InfinitePast()));
}

TEST(OpenCallsTest, GivesUpAtTheDeadline) {
  OpenCalls calls;
  const OpenCalls::Entry entry = calls.Enter();
  const absl::Time deadline = absl::Now() + absl::Milliseconds(10);
  EXPECT_FALSE(calls.AwaitNone(deadline));
  EXPECT_GE(absl::Now(), deadline);
}

TEST(OpenCallsTest, AwaitsTheLastOfThem) {
  OpenCalls calls;
  OpenCalls::Entry first = calls.Enter();
  OpenCalls::Entry second = calls.Enter();
  const OpenCalls::Entry moved = std::move(first);
  first.reset();
  second.reset();
  EXPECT_FALSE(calls.AwaitNone(absl::Now()));
}

TEST(OpenCallsTest, WakesWhenTheLastOneLeaves) {
  OpenCalls calls;
  OpenCalls::Entry entry = calls.Enter();
  std::thread leaver([&entry] { entry.reset(); });
  EXPECT_TRUE(calls.AwaitNone(absl::InfiniteFuture()));
  leaver.join();
}

}  // namespace
}  // namespace anyprec
