#include "runtime/scheduler/precision_policy.h"

#include <algorithm>
#include <random>
#include <span>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);
constexpr int kChunk = 128;

// One row at b bits takes b ms, sixteen take twice that; 128 prompt rows 64 ms.
StepCostModel Costs() {
  StepCostModel costs;
  for (int bits = 3; bits <= 8; ++bits) {
    costs.Measure({Phase::kDecode, bits, 1}, bits * kMs);
    costs.Measure({Phase::kDecode, bits, 16}, 2 * bits * kMs);
    costs.Measure({Phase::kPrefill, bits, kChunk}, 64 * kMs);
  }
  return costs;
}

// Of running sequences, by deadlines.
std::vector<int> Choose(std::span<const PrecisionDemand> demands,
                        const StepCostModel& costs, double pressure = 1) {
  PolicyInput input;
  input.demands = demands;
  input.num_running = static_cast<int>(demands.size());
  input.prefill_chunk_tokens = kChunk;
  input.pressure = pressure;
  return ChoosePrecisions(PrecisionPolicy(), input, costs);
}

PrecisionDemand Automatic() {
  PrecisionDemand demand;
  demand.min_bits = 3;
  demand.max_bits = 8;
  demand.tokens_left = 100;
  return demand;
}

int ChooseFor(const PrecisionDemand& demand) {
  return Choose({&demand, 1}, Costs())[0];
}

TEST(PrecisionPolicyTest, AFixedPrecisionIsKept) {
  PrecisionDemand demand = Automatic();
  demand.min_bits = demand.max_bits = 7;
  demand.token_every = kMs;
  EXPECT_EQ(ChooseFor(demand), 7);
}

TEST(PrecisionPolicyTest, WithoutSloTakesTheCeiling) {
  PrecisionDemand demand = Automatic();
  demand.max_bits = 6;
  EXPECT_EQ(ChooseFor(demand), 6);
}

TEST(PrecisionPolicyTest, TakesTheHighestPrecisionWhoseStepKeepsTpot) {
  PrecisionDemand demand = Automatic();
  demand.token_every = 5.5 * kMs;
  EXPECT_EQ(ChooseFor(demand), 5);
  demand.token_every = 4.5 * kMs;
  EXPECT_EQ(ChooseFor(demand), 4);
}

TEST(PrecisionPolicyTest, UnderPressureTakesLessThanIsAskedFor) {
  PrecisionDemand demand = Automatic();
  demand.token_every = 9 * kMs;
  const auto choose = [&](double pressure) {
    return Choose({&demand, 1}, Costs(), pressure)[0];
  };
  EXPECT_EQ(choose(1), 8);
  EXPECT_EQ(choose(1.5), 5);
  EXPECT_EQ(choose(4), 3);
  demand.token_every = absl::InfiniteDuration();
  EXPECT_EQ(choose(4), 8) << "asks for no latency";
}

TEST(PrecisionPolicyTest, LeavesTimeForWhatGoesOnComing) {
  PrecisionDemand demand = Automatic();
  demand.token_every = 9 * kMs;
  const auto choose = [&](const ServedLoad& recent) {
    PolicyInput input;
    input.demands = {&demand, 1};
    input.num_running = 1;
    input.prefill_chunk_tokens = kChunk;
    input.recent = recent;
    return ChoosePrecisions(PrecisionPolicy(), input, Costs())[0];
  };
  EXPECT_EQ(choose({}), 8);
  // Prompts take a fifth of the time: 6 bits, 7.5 ms.
  EXPECT_EQ(choose({.prompt_share = 0.2}), 6);
  EXPECT_EQ(choose({.prompt_share = 5}), 3);
  // Steps of 7 ms give 200 tokens a second to 1.4 answers in the mean, 4 in a
  // burst, and take 9 ms for so many; steps of 6 ms take 8 ms.
  EXPECT_EQ(choose({.tokens_per_second = 200}), 6);
  int last = 8;
  for (int tokens = 0; tokens < 5000; tokens += 10) {
    const int bits = choose({.tokens_per_second = 1.0 * tokens});
    ASSERT_LE(bits, last) << tokens;
    last = bits;
  }
  EXPECT_EQ(last, 3);
}

TEST(PrecisionPolicyTest, SpreadsADeadlineOverTheRemainingTokens) {
  PrecisionDemand demand = Automatic();
  demand.all_in = 650 * kMs;  // 6.5 ms for each of 100 tokens
  EXPECT_EQ(ChooseFor(demand), 6);
  demand.tokens_left = 50;
  EXPECT_EQ(ChooseFor(demand), 8);
  demand.tokens_left = 150;
  EXPECT_EQ(ChooseFor(demand), 4);
}

TEST(PrecisionPolicyTest, APromptsOwnTimeCountsAgainstTheDeadline) {
  PrecisionDemand demand = Automatic();
  demand.all_in = 650 * kMs;
  demand.prompt_rows_left = 2 * kChunk;  // 128 ms of prefill, and two decodes
  EXPECT_EQ(ChooseFor(demand), 4);
}

TEST(PrecisionPolicyTest, FirstTokenTargetLowersAPrefillThatLowerBitsSpeedUp) {
  StepCostModel costs = Costs();
  for (int bits = 3; bits <= 8; ++bits) {
    costs.Measure({Phase::kPrefill, bits, kChunk}, 10 * bits * kMs);
  }
  PrecisionDemand demand = Automatic();
  demand.prompt_rows_left = kChunk;
  demand.first_token_in = 60 * kMs;
  EXPECT_EQ(Choose({&demand, 1}, costs)[0], 5);
}

TEST(PrecisionPolicyTest, WhatCannotBeKeptRunsAtTheFastestPrecision) {
  PrecisionDemand demand = Automatic();
  demand.token_every = 1 * kMs;
  EXPECT_EQ(ChooseFor(demand), 3);
  // Lower is not always faster: here 5 bits are.
  StepCostModel costs = Costs();
  costs.Measure({Phase::kDecode, 5, 1}, 2 * kMs);
  EXPECT_EQ(Choose({&demand, 1}, costs)[0], 5);
}

TEST(PrecisionPolicyTest, OnlyThoseWhoseDemandBreaksComeDown) {
  StepCostModel costs;  // each row costs its bits
  for (int bits = 3; bits <= 8; ++bits) {
    costs.Measure({Phase::kDecode, bits, 1}, bits * kMs);
    costs.Measure({Phase::kDecode, bits, 16}, 16 * bits * kMs);
  }
  std::vector<PrecisionDemand> demands(3, Automatic());
  demands[0].token_every = 23 * kMs;   // 24 ms at 8 bits each
  demands[1].token_every = 100 * kMs;  // kept at any precision
  EXPECT_EQ(Choose(demands, costs), (std::vector<int>{5, 8, 8}));
}

TEST(PrecisionPolicyTest, OthersComeDownTooWhereOneAloneIsNotEnough) {
  std::vector<PrecisionDemand> demands(2, Automatic());
  demands[0].token_every = 6 * kMs;  // less than the other's group at 8 bits
  demands[1].token_every = 100 * kMs;
  EXPECT_EQ(Choose(demands, Costs()), (std::vector<int>{5, 5}));
}

TEST(PrecisionPolicyTest, AHopelessRequestDoesNotDragOthersDown) {
  StepCostModel costs;
  for (int bits = 3; bits <= 8; ++bits) {
    costs.Measure({Phase::kDecode, bits, 1}, bits * kMs);
    costs.Measure({Phase::kDecode, bits, 16}, 16 * bits * kMs);
  }
  std::vector<PrecisionDemand> demands(2, Automatic());
  demands[0].all_in = -5 * kMs;
  demands[1].token_every = 100 * kMs;
  EXPECT_EQ(Choose(demands, costs), (std::vector<int>{3, 8}));
}

TEST(PrecisionPolicyTest, RaisingNeedsMoreHeadroomThanStaying) {
  PrecisionDemand demand = Automatic();
  demand.token_every = 5.5 * kMs;  // 5 bits: 91 % of it
  demand.current_bits = 4;
  EXPECT_EQ(ChooseFor(demand), 4);
  demand.current_bits = 5;
  EXPECT_EQ(ChooseFor(demand), 5);
  demand.token_every = 6.1 * kMs;  // 82 %
  demand.current_bits = 4;
  EXPECT_EQ(ChooseFor(demand), 5);
}

TEST(PrecisionPolicyTest, NeverLeavesTheRangeAndIsDeterministic) {
  std::mt19937 random(1);
  const StepCostModel costs = Costs();
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<PrecisionDemand> demands(1 + random() % 20);
    for (PrecisionDemand& demand : demands) {
      demand.min_bits = 3 + static_cast<int>(random() % 6);
      demand.max_bits =
          demand.min_bits + static_cast<int>(random() % (9 - demand.min_bits));
      demand.current_bits = random() % 2 ? demand.min_bits : 0;
      demand.prompt_rows_left = random() % 2 ? random() % 400 : 0;
      demand.tokens_left = static_cast<int>(random() % 100);
      const auto maybe = [&](absl::Duration& target) {
        // Past targets, too.
        if (random() % 2)
          target = (static_cast<int>(random() % 200) - 20) * kMs;
      };
      maybe(demand.first_token_in);
      maybe(demand.token_every);
      maybe(demand.all_in);
    }
    PolicyInput input;
    input.demands = demands;
    input.num_running = static_cast<int>(demands.size());
    input.prefill_chunk_tokens = kChunk;
    input.pressure = 1 + 0.1 * (random() % 31);
    input.recent = {.tokens_per_second = 1.0 * (random() % 2000),
                    .prompt_rows_per_second = 1.0 * (random() % 4000),
                    .prompt_share = 0.01 * (random() % 120)};
    const auto choose = [&] {
      return ChoosePrecisions(PrecisionPolicy(), input, costs);
    };
    const std::vector<int> bits = choose();
    ASSERT_EQ(bits.size(), demands.size());
    for (size_t i = 0; i < bits.size(); ++i) {
      ASSERT_GE(bits[i], demands[i].min_bits);
      ASSERT_LE(bits[i], demands[i].max_bits);
    }
    ASSERT_EQ(bits, choose());
  }
}

TEST(PrecisionPolicyTest, TokensWithoutEndDoNotOverflow) {
  PrecisionDemand demand = Automatic();
  demand.token_every = 9 * kMs;
  PolicyInput input;
  input.demands = {&demand, 1};
  input.num_running = 1;
  input.prefill_chunk_tokens = kChunk;
  for (double tokens = 1000; tokens < 1e12; tokens *= 10) {
    input.recent.tokens_per_second = 10 * tokens;
    EXPECT_EQ(ChoosePrecisions(PrecisionPolicy(), input, Costs())[0], 3)
        << tokens;
  }
}

TEST(PrecisionPolicyTest, MoreLoadNeverRaisesAnEqualRequest) {
  int last = 8;
  for (int load = 1; load <= 64; ++load) {
    std::vector<PrecisionDemand> demands(load, Automatic());
    for (PrecisionDemand& demand : demands) demand.token_every = 20 * kMs;
    const std::vector<int> bits = Choose(demands, Costs());
    EXPECT_EQ(*std::min_element(bits.begin(), bits.end()),
              *std::max_element(bits.begin(), bits.end()));
    EXPECT_LE(bits[0], last);
    last = bits[0];
  }
  EXPECT_EQ(last, 3);
}

TEST(PrecisionPolicyTest, PromptsThatWaitLowerThoseThatRun) {
  // Two answers run, three prompts of 64 ms wait for their first tokens.
  std::vector<PrecisionDemand> demands(5, Automatic());
  for (int i = 2; i < 5; ++i) {
    demands[i].prompt_rows_left = kChunk;
    demands[i].first_token_in = 1000 * kMs;
  }
  demands[0].token_every = demands[1].token_every = 100 * kMs;
  EXPECT_EQ(Choose(demands, Costs()), std::vector<int>(5, 8));
  // The last has 192 ms of prompts and 3 decode steps of five rows, 10.1 ms
  // each at 8 bits and 7.6 at 6.
  for (int i = 2; i < 5; ++i) demands[i].first_token_in = 227 * kMs;
  EXPECT_EQ(Choose(demands, Costs()), std::vector<int>(5, 6));
}

// Prompts up to 4 bits in half the time; answers, at any, in the same.
StepCostModel CostsWithQuickPrompts() {
  StepCostModel costs;
  for (int bits = 3; bits <= 8; ++bits) {
    for (const int rows : {1, 16}) {
      costs.Measure({Phase::kDecode, bits, rows}, 10 * kMs);
    }
    for (const int rows : {32, kChunk}) {
      costs.Measure({Phase::kPrefill, bits, rows},
                    rows * (bits <= 4 ? 0.25 : 0.5) * kMs);
    }
  }
  return costs;
}

TEST(PrecisionPolicyTest, AnAnswerThatCannotBeInTimeDoesNotLowerPrompts) {
  std::vector<PrecisionDemand> demands(3, Automatic());
  demands[0].min_bits = demands[0].max_bits - 1;
  demands[0].all_in = kMs;
  for (int i = 1; i < 3; ++i) {
    demands[i].prompt_rows_left = kChunk;
    demands[i].first_token_in = 60000 * kMs;
  }
  const std::vector<int> bits = Choose(demands, CostsWithQuickPrompts());
  EXPECT_EQ(bits[1], 8);
  EXPECT_EQ(bits[2], 8);
}

// Of running sequences, where so many rows of prompts came a second of late.
std::vector<int> ChooseBeside(double prompt_rows_per_second,
                              std::span<const PrecisionDemand> demands,
                              const StepCostModel& costs) {
  PolicyInput input;
  input.demands = demands;
  input.num_running = static_cast<int>(demands.size());
  input.prefill_chunk_tokens = kChunk;
  input.recent.prompt_rows_per_second = prompt_rows_per_second;
  return ChoosePrecisions(PrecisionPolicy(), input, costs);
}

TEST(PrecisionPolicyTest, PromptsAloneComeDownWhereTheyLeaveNoRoomForABurst) {
  std::vector<PrecisionDemand> demands(3, Automatic());
  demands[0].token_every = 40 * kMs;
  for (int i = 1; i < 3; ++i) {
    demands[i].prompt_rows_left = kChunk;
    demands[i].first_token_in = 10000 * kMs;
  }
  const auto choose = [&](double prompt_rows_per_second) {
    return ChooseBeside(prompt_rows_per_second, demands,
                        CostsWithQuickPrompts());
  };
  // Between two tokens there is time for 32 rows, 16 ms, beside the answer's 10
  // ms. Two fifths of all time are enough for 492 rows a second.
  EXPECT_EQ(choose(485), (std::vector<int>{8, 8, 8}));
  EXPECT_EQ(choose(500), (std::vector<int>{8, 4, 4}));
  // No precision leaves enough: the quickest, of which 4 bits are the highest.
  EXPECT_EQ(choose(1e6), (std::vector<int>{8, 4, 4}));
  demands[1].min_bits = 6;
  EXPECT_EQ(choose(500), (std::vector<int>{8, 6, 4}));
  demands[2].first_token_in = absl::InfiniteDuration();
  EXPECT_EQ(choose(500), (std::vector<int>{8, 6, 8})) << "asks for no latency";
}

TEST(PrecisionPolicyTest, AnswersMakeRoomWherePromptsCannot) {
  StepCostModel costs;
  for (int bits = 3; bits <= 8; ++bits) {
    for (const int rows : {1, 16}) {
      costs.Measure({Phase::kDecode, bits, rows}, 2 * bits * kMs);
    }
    for (const int rows : {32, kChunk}) {
      costs.Measure({Phase::kPrefill, bits, rows}, rows * 0.25 * kMs);
    }
  }
  std::vector<PrecisionDemand> demands(2, Automatic());
  demands[0].token_every = 40 * kMs;
  demands[1].prompt_rows_left = kChunk;
  demands[1].first_token_in = 10000 * kMs;
  const auto choose = [&](double prompt_rows_per_second) {
    return ChooseBeside(prompt_rows_per_second, demands, costs)[0];
  };
  // A row takes 0.25 ms and its part of the answer's: 16 ms for 64 rows at 8
  // bits, 14 for 96 at 7, 10 for 96 at 5.
  EXPECT_EQ(choose(790), 8);
  EXPECT_EQ(choose(810), 7);
  EXPECT_EQ(choose(1100), 5);
  EXPECT_EQ(choose(1e6), 3);
  demands[0].min_bits = 6;
  EXPECT_EQ(choose(1e6), 6);
}

TEST(PrecisionPolicyTest, WhoAsksForNothingYieldsAtLast) {
  std::vector<PrecisionDemand> demands(2, Automatic());
  demands[0].token_every = 8 * kMs;
  // 8 bits for the other alone take 8 ms; 3 bits for both 3.2 ms.
  EXPECT_EQ(Choose(demands, Costs()), (std::vector<int>{7, 7}));
  demands[0].token_every = 12 * kMs;
  EXPECT_EQ(Choose(demands, Costs()), (std::vector<int>{8, 8}));
}

TEST(PrecisionPolicyTest, LimitsMoveAutomaticRequestsWithinTheirOwn) {
  std::vector<PrecisionDemand> demands(3, Automatic());
  demands[1].min_bits = demands[1].max_bits = 7;  // fixed
  demands[2].min_bits = 6;                        // a floor above the cap
  for (const char* policy : {"slo", "fixed:8", "load-ladder"}) {
    PolicyInput input;
    input.demands = demands;
    input.num_running = 1;
    input.prefill_chunk_tokens = kChunk;
    input.limits = {.min_bits = 4, .max_bits = 5};
    EXPECT_EQ(ChoosePrecisions(*ParsePrecisionPolicy(policy), input, Costs()),
              (std::vector<int>{5, 7, 6}))
        << policy;
  }
}

TEST(PrecisionPolicyTest, TheLadderGoesByTheNumberOfRequestsAlone) {
  std::vector<PrecisionDemand> demands(1, Automatic());
  demands[0].token_every = kMs;
  const auto at_load = [&](int requests) {
    PolicyInput input;
    input.demands = demands;
    input.num_running = 1;
    input.num_waiting = requests - 1;
    return ChoosePrecisions(*ParsePrecisionPolicy("load-ladder:11"), input,
                            Costs())[0];
  };
  EXPECT_EQ(at_load(1), 8);
  EXPECT_EQ(at_load(3), 7);
  EXPECT_EQ(at_load(11), 3);
  EXPECT_EQ(at_load(500), 3);
}

TEST(PrecisionPolicyTest, ParsesItsOwnNames) {
  for (const char* text : {"slo", "fixed:2", "fixed:8", "load-ladder:7"}) {
    EXPECT_EQ(ToString(*ParsePrecisionPolicy(text)), text);
  }
  EXPECT_EQ(ToString(*ParsePrecisionPolicy("load-ladder")), "load-ladder:32");
  for (const char* text : {"", "SLO", "fixed", "fixed:", "fixed:9", "fixed:1",
                           "fixed:4 bits", "load-ladder:0", "slo:3"}) {
    const absl::Status status = ParsePrecisionPolicy(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_TRUE(absl::StrContains(status.message(), text)) << status;
  }
}

// One automatic stream on a machine whose decode step of b bits takes
// `step_time(b, step)`: the bits of each step.
template <typename StepTime>
std::vector<int> RunStream(int steps, absl::Duration token_every,
                           StepCostModel costs, const StepTime& step_time) {
  std::vector<int> history;
  PrecisionDemand demand = Automatic();
  demand.token_every = token_every;
  for (int step = 0; step < steps; ++step) {
    const int bits = Choose({&demand, 1}, costs)[0];
    const RowCount work = {Phase::kDecode, bits, 1};
    costs.Observe({&work, 1}, step_time(bits, step));
    demand.current_bits = bits;
    history.push_back(bits);
  }
  return history;
}

TEST(AutomaticPrecisionTest, ComesBackWhenASlowdownOfAllPrecisionsEnds) {
  const std::vector<int> bits =
      RunStream(600, 10 * kMs, Costs(), [](int bits, int step) {
        return (step >= 50 && step < 120 ? 3 : 1) * bits * kMs;
      });
  EXPECT_EQ(bits[49], 8);
  EXPECT_EQ(bits[119], 3);
  EXPECT_GE(bits[200], 7);  // most of it soon
  EXPECT_EQ(bits[599], 8);
}

TEST(AutomaticPrecisionTest, StaysDownWhileOnePrecisionIsTooSlow) {
  // 8 bits take twice what the sweep saw of them.
  const std::vector<int> bits =
      RunStream(2000, 10 * kMs, Costs(),
                [](int bits, int) { return (bits == 8 ? 2 : 1) * bits * kMs; });
  // It is tried now and then, and mostly the next one down runs.
  EXPECT_LT(std::count(bits.begin(), bits.end(), 8), 100);
  EXPECT_GT(std::count(bits.begin(), bits.end(), 7), 1500);
}

TEST(AutomaticPrecisionTest, LearnsFromItsOwnStepsWithoutASweep) {
  const auto twice = [](int bits, int) { return 2 * bits * kMs; };
  const std::vector<int> bits = RunStream(50, 10 * kMs, StepCostModel(), twice);
  EXPECT_EQ(bits.front(), 8);
  EXPECT_EQ(bits.back(), 4);  // 8 ms; 5 bits leave no headroom
}

TEST(AutomaticPrecisionTest, LearnsWhatLiesBelowAnOnlyMeasuredCeiling) {
  StepCostModel costs;
  costs.Measure({Phase::kDecode, 8, 1}, 16 * kMs);
  const auto twice = [](int bits, int) { return 2 * bits * kMs; };
  EXPECT_EQ(RunStream(50, 10 * kMs, costs, twice).back(), 4);
}

}  // namespace
}  // namespace anyprec
