#include "tests/load/timeline.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/load/record_helpers.h"

namespace anyprec::load {
namespace {

const MeasuredTime kFourSeconds = {.warm_up = absl::Seconds(1),
                                   .end = absl::Seconds(4)};

TEST(TimelineTest, EventsFallIntoTheirWindows) {
  const std::vector<RequestRecord> records = {
      Answered(0.5, {700, 2700}, 4), Ended(1.5, Outcome::kRefused, 1),
      Ended(1.6, Outcome::kError, 1), Ended(1.7, Outcome::kCancelled, 1)};
  const Timeline timeline =
      MakeTimeline(records, kFourSeconds, absl::Seconds(1));
  ASSERT_EQ(timeline.windows.size(), 4u);
  EXPECT_EQ(timeline.windows[0].planned, 1);
  EXPECT_EQ(timeline.windows[1].planned, 3);
  EXPECT_EQ(timeline.windows[1].refused, 1);
  EXPECT_EQ(timeline.windows[1].failed, 1);
  EXPECT_EQ(timeline.windows[1].tokens_by_bits[4], 1);
  EXPECT_EQ(timeline.windows[3].tokens_by_bits[4], 1);
  EXPECT_DOUBLE_EQ(*timeline.windows[0].ttft_p50_ms, 700);
  EXPECT_FALSE(timeline.windows[0].tpot_p50_ms.has_value());
  EXPECT_DOUBLE_EQ(*timeline.windows[3].tpot_p99_ms, 2000);
}

TEST(TimelineTest, RequestsWaitUntilTheirFirstToken) {
  const Timeline timeline = MakeTimeline(
      std::vector{Answered(0.5, {1700, 2700})}, kFourSeconds, absl::Seconds(1));
  const std::vector<int64_t> waiting = {1, 1, 0, 0};
  const std::vector<int64_t> running = {0, 0, 1, 0};
  ASSERT_EQ(timeline.windows.size(), 4u);
  for (size_t i = 0; i < timeline.windows.size(); ++i) {
    EXPECT_EQ(timeline.windows[i].waiting, waiting[i]) << i;
    EXPECT_EQ(timeline.windows[i].running, running[i]) << i;
  }
}

TEST(TimelineTest, TheDrainIsPartOfIt) {
  const Timeline timeline = MakeTimeline(
      std::vector{Answered(3.9, {100, 6000})}, kFourSeconds, absl::Seconds(1));
  EXPECT_EQ(timeline.windows.size(), 10u);
  EXPECT_EQ(timeline.end_s, 4);
  EXPECT_EQ(timeline.warm_up_s, 1);
}

TEST(TimelineTest, NoRecordsGiveEmptyWindows) {
  const Timeline timeline = MakeTimeline({}, kFourSeconds, {});
  EXPECT_GT(timeline.windows.size(), 30u);
  EXPECT_EQ(timeline.windows[0].planned, 0);
}

}  // namespace
}  // namespace anyprec::load
