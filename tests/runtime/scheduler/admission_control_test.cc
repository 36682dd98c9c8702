#include "runtime/scheduler/admission_control.h"

#include <memory>
#include <utility>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);
const absl::Time kNow = absl::FromUnixSeconds(1000);
constexpr PrecisionLimits kLimits = {.min_bits = 3, .max_bits = 8};

class AdmissionControlTest : public testing::Test {
 protected:
  // A decode step takes 3 ms, 100 prompt rows 50; nothing runs.
  AdmissionControlTest() {
    auto costs = std::make_shared<StepCostModel>();
    costs->Measure({Phase::kDecode, 3, 1}, 3 * kMs);
    costs->Measure({Phase::kPrefill, 3, 100}, 50 * kMs);
    QueueSnapshot queue;
    queue.max_sequences = 4;
    queue.prefill_chunk_tokens = 100;
    control_.Publish(std::move(queue), std::move(costs));
  }

  static AdmissionQuery Query(absl::Duration ttft) {
    AdmissionQuery query;
    query.prompt_tokens = 100;
    query.min_bits = 3;
    query.max_bits = 8;
    query.slo.ttft = ttft;
    return query;
  }

  AdmissionControl control_{{.max_requests = 2}};
};

TEST_F(AdmissionControlTest, WhatLoadRefusesIsPressure) {
  EXPECT_EQ(control_.Pressure(kNow), 1);
  control_.Accept(Query(60 * kMs), kLimits, kNow);
  EXPECT_EQ(control_.Pressure(kNow), 1);
  EXPECT_FALSE(control_.Check(Query(60 * kMs), 1, kLimits, kNow).ok());
  const double raised = control_.Pressure(kNow);
  EXPECT_GT(raised, 1);
  EXPECT_FALSE(control_.Check(Query(60 * kMs), 1, kLimits, kNow).ok());
  EXPECT_GT(control_.Pressure(kNow), raised);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE(control_.Check(Query(60 * kMs), 2, kLimits, kNow).ok());
  }
  EXPECT_EQ(control_.Pressure(kNow), LoadPressure::kMost);
  EXPECT_LT(control_.Pressure(kNow + absl::Seconds(30)), 2.2);
  EXPECT_NEAR(control_.Pressure(kNow + absl::Minutes(10)), 1, 1e-6);
}

TEST_F(AdmissionControlTest, WhatNoLoadWouldAllowIsNone) {
  EXPECT_FALSE(control_.Check(Query(20 * kMs), 0, kLimits, kNow).ok());
  EXPECT_EQ(control_.Pressure(kNow), 1);
}

TEST_F(AdmissionControlTest, WhatNoLoadWouldAllowIsNotToComeBackSoon) {
  const absl::Status idle = control_.Check(Query(20 * kMs), 0, kLimits, kNow);
  control_.Accept(Query(60 * kMs), kLimits, kNow);
  EXPECT_EQ(control_.Check(Query(20 * kMs), 1, kLimits, kNow), idle);
  EXPECT_GE(RefusalOf(idle)->retry_after, absl::Seconds(1));
  const absl::Status busy = control_.Check(Query(60 * kMs), 1, kLimits, kNow);
  EXPECT_LT(RefusalOf(busy)->retry_after, absl::Seconds(1));
}

TEST_F(AdmissionControlTest, RemembersWhatTheSchedulerHasYetToSee) {
  control_.Accept(Query(60 * kMs), kLimits, kNow);
  EXPECT_FALSE(control_.Check(Query(60 * kMs), 1, kLimits, kNow).ok());
  control_.TakeIn();
  QueueSnapshot queue;
  queue.max_sequences = 4;
  queue.prefill_chunk_tokens = 100;
  control_.Publish(std::move(queue), nullptr);
  EXPECT_TRUE(control_.Check(Query(60 * kMs), 0, kLimits, kNow).ok());
}

}  // namespace
}  // namespace anyprec
