#include "server/access_log.h"

#include <gtest/gtest.h>

#include "absl/time/time.h"

namespace anyprec {
namespace {

TEST(AccessLogTest, LineHoldsTokensBitsAndTimes) {
  RequestStats stats;
  stats.prompt_tokens = 12;
  stats.completion_tokens = 5;
  stats.queue_time = absl::Microseconds(100);
  stats.ttft = absl::Milliseconds(12);
  stats.tpot = absl::Microseconds(3100);
  stats.total = absl::Milliseconds(24);
  stats.tokens_by_bits[3] = 4;
  stats.tokens_by_bits[8] = 1;
  stats.prompt_tokens_by_bits[3] = 8;
  stats.prompt_tokens_by_bits[4] = 4;
  EXPECT_EQ(AccessLogLine({"r17", "Generate", ""}, absl::OkStatus(), stats),
            "r17 Generate OK prompt=12 cached=0 prompt_bits=3:8,4:4 "
            "completion=5 bits=3:4,8:1 queue=0.1ms "
            "ttft=12.0ms tpot=3.10ms total=24.0ms");
}

TEST(AccessLogTest, ARefusalHasNoTimes) {
  EXPECT_EQ(
      AccessLogLine({"r1", "Score", ""}, absl::UnavailableError("loading"), {}),
      "r1 Score UNAVAILABLE \"loading\"");
}

TEST(AccessLogTest, SaysOfWhichTraceACallIs) {
  EXPECT_EQ(AccessLogLine({"r1", "Score", "00-af-b7-01"},
                          absl::UnavailableError("loading"), {}),
            "r1 Score UNAVAILABLE traceparent=00-af-b7-01 \"loading\"");
}

TEST(AccessLogTest, WhatAClientSentCannotForgeALine) {
  EXPECT_EQ(AccessLogLine({"r1", "Score", ""},
                          absl::InvalidArgumentError("role is \"x\ny\""), {}),
            "r1 Score INVALID_ARGUMENT \"role is \\\"x\\ny\\\"\"");
}

}  // namespace
}  // namespace anyprec
