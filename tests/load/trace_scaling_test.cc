#include "tests/load/trace_scaling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace anyprec::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TraceEntry Entry(double at_s, int prompt, int output) {
  TraceEntry entry;
  entry.at = absl::Seconds(at_s);
  entry.prompt_tokens = prompt;
  entry.output_tokens = output;
  return entry;
}

std::vector<TraceEntry> Trace() {
  return {Entry(0, 100, 10), Entry(10, 200, 20), Entry(20, 300, 30),
          Entry(30, 401, 1)};
}

TEST(TraceScalingTest, AStretchBeginsAtZeroAndScales) {
  const auto scaled = ScaleTrace(Trace(), {.start = absl::Seconds(10),
                                           .duration = absl::Seconds(20),
                                           .time_scale = 0.5,
                                           .length_scale = 0.1});
  ASSERT_TRUE(scaled.ok()) << scaled.status();
  ASSERT_EQ(scaled->size(), 2u);
  EXPECT_EQ((*scaled)[0].at, absl::ZeroDuration());
  EXPECT_EQ((*scaled)[1].at, absl::Seconds(5));
  EXPECT_EQ((*scaled)[0].prompt_tokens, 20);
  EXPECT_EQ((*scaled)[1].output_tokens, 3);
  EXPECT_EQ((*scaled)[1].hash_block_tokens, 52);
}

TEST(TraceScalingTest, NoLengthBecomesZero) {
  const auto scaled = ScaleTrace(Trace(), {.length_scale = 0.001});
  ASSERT_TRUE(scaled.ok()) << scaled.status();
  for (const TraceEntry& entry : *scaled) {
    EXPECT_EQ(entry.prompt_tokens, 1);
    EXPECT_EQ(entry.output_tokens, 1);
  }
}

TEST(TraceScalingTest, AnEmptyStretchAndAWrongScaleAreErrors) {
  EXPECT_THAT(
      std::string(
          ScaleTrace(Trace(), {.start = absl::Seconds(31)}).status().message()),
      HasSubstr("no request in [31s"));
  EXPECT_FALSE(ScaleTrace(Trace(), {.time_scale = 0}).ok());
  EXPECT_FALSE(ScaleTrace(Trace(), {.length_scale = -1}).ok());
}

TEST(TraceScalingTest, ATraceWithoutTimesIsTakenWhole) {
  TraceEntry entry = Entry(0, 10, 10);
  entry.at.reset();
  const auto scaled = ScaleTrace({entry, entry}, {.start = absl::Seconds(100)});
  ASSERT_TRUE(scaled.ok()) << scaled.status();
  EXPECT_EQ(scaled->size(), 2u);
}

TEST(TraceScalingTest, TheContextCutsPromptsBeforeAnswers) {
  TraceEntry fits = Entry(0, 60, 40);
  EXPECT_FALSE(ApplyCaps({.context_tokens = 100}, fits));
  TraceEntry longer = Entry(0, 90, 40);
  EXPECT_TRUE(ApplyCaps({.context_tokens = 100}, longer));
  EXPECT_EQ(longer.prompt_tokens, 60);
  EXPECT_EQ(longer.output_tokens, 40);
  TraceEntry endless = Entry(0, 90, 4000);
  EXPECT_TRUE(ApplyCaps({.context_tokens = 100}, endless));
  EXPECT_EQ(endless.prompt_tokens, 1);
  EXPECT_EQ(endless.output_tokens, 99);
  TraceEntry both = Entry(0, 90, 40);
  EXPECT_TRUE(ApplyCaps({.prompt_tokens = 8, .output_tokens = 4}, both));
  EXPECT_EQ(both.prompt_tokens, 8);
  EXPECT_EQ(both.output_tokens, 4);
}

TEST(TraceScalingTest, HashIdsOfCutBlocksGo) {
  TraceEntry entry = Entry(0, 30, 1);
  entry.hash_block_tokens = 10;
  entry.hash_ids = {1, 2, 3};
  ApplyCaps({.prompt_tokens = 15}, entry);
  EXPECT_THAT(entry.hash_ids, ElementsAre(1, 2));
}

TEST(TraceScalingTest, MeanRateCountsGaps) {
  EXPECT_DOUBLE_EQ(MeanRate(Trace()), 0.1);
  EXPECT_EQ(MeanRate({Entry(0, 1, 1)}), 0);
  EXPECT_EQ(MeanRate({Entry(3, 1, 1), Entry(3, 1, 1)}), 0);
}

}  // namespace
}  // namespace anyprec::load
