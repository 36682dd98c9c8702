// How the scheduler spreads a deadline over an answer whose length nobody gave.
#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/kv/block_pool.h"
#include "runtime/scheduler/scheduler.h"

namespace anyprec {
namespace {

constexpr int kContext = 8192;

absl::Duration StepTime(int bits) { return absl::Milliseconds(2 * bits); }

// One sequence with `deadline` to go, on a machine where b bits take 2 b ms.
class Stream {
 public:
  Stream(int max_tokens, bool max_tokens_given, absl::Duration deadline)
      : costs_(Costs()),
        pool_(kContext / 16, 16),
        scheduler_({}, pool_, costs_),
        sequence_(1, MakeRequest(max_tokens, max_tokens_given, now_ + deadline),
                  3, 8, now_) {
    scheduler_.Add(&sequence_);
  }

  // Generates a token; the bits of the step.
  int Step() {
    const StepPlan plan = scheduler_.Schedule(now_);
    const int bits = plan.steps.at(0).bits;
    now_ += StepTime(bits);
    scheduler_.Commit(plan, std::vector<NewTokens>(1, NewTokens(1, 7)), now_);
    return bits;
  }

  const Sequence& sequence() const { return sequence_; }
  absl::Time now() const { return now_; }

 private:
  static StepCostModel Costs() {
    StepCostModel costs;
    for (int bits = 3; bits <= 8; ++bits) {
      costs.Measure({Phase::kDecode, bits, 1}, StepTime(bits));
      costs.Measure({Phase::kPrefill, bits, 1}, StepTime(bits));
    }
    return costs;
  }

  static Request MakeRequest(int max_tokens, bool max_tokens_given,
                             absl::Time deadline) {
    Request request;
    request.prompt = {1};
    request.stopping.max_tokens = max_tokens;
    request.stopping.max_tokens_given = max_tokens_given;
    request.deadline = deadline;
    return request;
  }

  absl::Time now_ = absl::FromUnixSeconds(1000);
  const StepCostModel costs_;
  BlockPool pool_;
  Scheduler scheduler_;
  Sequence sequence_;
};

TEST(AnswerLengthTest, TheRoomOfTheContextIsNoReasonForTheFloor) {
  // At the floor 8000 tokens take 48 s.
  Stream asked(8000, true, absl::Seconds(30));
  EXPECT_EQ(asked.Step(), 3);
  Stream open_ended(8000, false, absl::Seconds(30));
  for (int token = 0; token < 10; ++token) EXPECT_EQ(open_ended.Step(), 8);
}

TEST(AnswerLengthTest, AUsualAnswerIsPacedAgainstItsDeadline) {
  // Some 11 ms a token.
  Stream stream(8000, false, absl::Seconds(3));
  EXPECT_EQ(stream.Step(), 5);
}

TEST(AnswerLengthTest, ASmallRoomIsTakenAtItsSize) {
  Stream stream(20, false, absl::Seconds(1));
  EXPECT_EQ(stream.Step(), 8);
}

TEST(AnswerLengthTest, AnAnswerThatOutgrowsTheExpectedIsSlowedDownInTime) {
  // All 2000 tokens at 8 bits would take 32 s.
  Stream stream(8000, false, absl::Seconds(30));
  EXPECT_EQ(stream.Step(), 8);
  int lowest = 8;
  while (stream.sequence().generated() < 2000) {
    lowest = std::min(lowest, stream.Step());
  }
  EXPECT_LT(lowest, 8);
  EXPECT_GT(lowest, 3);
  EXPECT_LT(stream.now(), stream.sequence().request.deadline);
}

}  // namespace
}  // namespace anyprec
