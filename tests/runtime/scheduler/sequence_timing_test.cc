#include "runtime/scheduler/sequence_timing.h"

#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr absl::Duration kTpot = absl::Milliseconds(40);
const absl::Time kStart = absl::FromUnixSeconds(1000);

// The time between tokens that an answer wants of the policy when `generated`
// of them are there, `ahead` before their time.
absl::Duration TokenEvery(int generated, absl::Duration ahead) {
  Request request;
  request.prompt = {1};
  request.stopping.max_tokens = 100;
  request.stopping.max_tokens_given = true;
  request.precision.slo.tpot = kTpot;
  Sequence sequence(1, request, 3, 8, kStart);
  sequence.tokens.resize(1 + generated, 7);
  sequence.first_token = kStart;
  return DemandOf(sequence, kStart + (generated - 1) * kTpot - ahead)
      .token_every;
}

TEST(SequenceTimingTest, AnswersReturnToTheirPaceStepByStep) {
  EXPECT_EQ(TokenEvery(10, absl::ZeroDuration()), kTpot);
  EXPECT_GT(TokenEvery(10, kTpot), kTpot);
  EXPECT_LT(TokenEvery(10, kTpot), 2 * kTpot);
  EXPECT_LT(TokenEvery(10, -kTpot), kTpot);
  EXPECT_GT(TokenEvery(10, -kTpot), kTpot / 2);
}

TEST(SequenceTimingTest, BeforeItsFirstTokenAnAnswerWantsItsPace) {
  EXPECT_EQ(TokenEvery(0, absl::ZeroDuration()), kTpot);
}

}  // namespace
}  // namespace anyprec
