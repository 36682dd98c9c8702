// What holds of the policy on any step times and loads: more load raises none.
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/scheduler/precision_policy.h"

namespace anyprec {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);
constexpr int kChunk = 128;

double In(double low, double high, std::mt19937& random) {
  return std::uniform_real_distribution<double>(low, high)(random);
}

// Steps take the less time, the fewer their bits.
StepCostModel RandomCosts(std::mt19937& random) {
  const double decode = In(0, 10, random);
  const double decode_bit = In(0.2, 3, random);
  const double decode_row = In(0.01, 0.5, random);
  const double chunk = In(0, 10, random);
  const double prefill_row = In(0.05, 0.5, random);
  const double prefill_bit = In(0.01, 0.1, random);
  StepCostModel costs;
  for (int bits = 3; bits <= 8; ++bits) {
    for (const int rows : {1, 4, 16, 64}) {
      costs.Measure(
          {Phase::kDecode, bits, rows},
          (decode + bits * decode_bit) * (1 + rows * decode_row) * kMs);
    }
    for (const int rows : {16, kChunk}) {
      costs.Measure({Phase::kPrefill, bits, rows},
                    (chunk + rows * (prefill_row + bits * prefill_bit)) * kMs);
    }
  }
  return costs;
}

// Equal answers, and behind them equal prompts.
struct Load {
  int answers = 0;
  int prompts = 0;
  double pressure = 1;
  ServedLoad recent;
  absl::Duration token_every;
  absl::Duration first_token_in;
  int prompt_rows = 0;

  std::vector<int> Choose(const StepCostModel& costs) const {
    PrecisionDemand answer;
    answer.min_bits = 3;
    answer.max_bits = 8;
    answer.tokens_left = 100;
    answer.token_every = token_every;
    std::vector<PrecisionDemand> demands(answers + prompts, answer);
    for (int i = answers; i < answers + prompts; ++i) {
      demands[i].prompt_rows_left = prompt_rows;
      demands[i].first_token_in = first_token_in;
    }
    PolicyInput input;
    input.demands = demands;
    input.num_running = answers + prompts;
    input.prefill_chunk_tokens = kChunk;
    input.pressure = pressure;
    input.recent = recent;
    return ChoosePrecisions(PrecisionPolicy(), input, costs);
  }
};

Load RandomLoad(std::mt19937& random) {
  Load load;
  load.answers = 1 + static_cast<int>(random() % 8);
  load.pressure = In(1, 2, random);
  load.recent = {.tokens_per_second = In(0, 300, random),
                 .prompt_rows_per_second = In(0, 1000, random),
                 .prompt_share = In(0, 0.5, random)};
  load.token_every = In(5, 100, random) * kMs;
  load.first_token_in = In(50, 2000, random) * kMs;
  load.prompt_rows = 16 + static_cast<int>(random() % 500);
  return load;
}

// As the load grows in steps of `grow`, the answers that were there at first
// and the first `watched_prompts` of the prompts never get more bits than
// before; most answers have fewer in the end.
void ExpectFewer(int prompts, int watched_prompts, void (*grow)(Load& load)) {
  constexpr int kTrials = 300;
  std::mt19937 random(1);
  int lowered = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const StepCostModel costs = RandomCosts(random);
    Load load = RandomLoad(random);
    load.prompts = prompts;
    const int watched = load.answers + watched_prompts;
    const std::vector<int> first = load.Choose(costs);
    std::vector<int> last = first;
    for (int step = 0; step < 20; ++step) {
      grow(load);
      const std::vector<int> bits = load.Choose(costs);
      for (int i = 0; i < watched; ++i) {
        ASSERT_LE(bits[i], last[i]) << "trial " << trial << " step " << step;
      }
      last = bits;
    }
    lowered += last[0] < first[0] || first[0] == 3 ? 1 : 0;
  }
  EXPECT_GT(lowered, kTrials / 2);
}

TEST(PrecisionPolicyPropertyTest, MoreAnswersRaiseNone) {
  ExpectFewer(0, 0, [](Load& load) { ++load.answers; });
}

TEST(PrecisionPolicyPropertyTest, MorePromptsRaiseNoAnswer) {
  // A prompt may gain a bit where answers that share its step lose some.
  ExpectFewer(1, 0, [](Load& load) { ++load.prompts; });
}

TEST(PrecisionPolicyPropertyTest, MorePressureRaisesNoAnswer) {
  ExpectFewer(0, 0, [](Load& load) { load.pressure += 0.15; });
}

TEST(PrecisionPolicyPropertyTest, MoreTokensToComeRaiseNoAnswer) {
  ExpectFewer(0, 0, [](Load& load) { load.recent.tokens_per_second += 50; });
}

TEST(PrecisionPolicyPropertyTest, MorePromptRowsToComeRaiseNone) {
  ExpectFewer(3, 3, [](Load& load) {
    load.recent.prompt_rows_per_second += 200;
    load.recent.prompt_share += 0.05;
  });
}

}  // namespace
}  // namespace anyprec
