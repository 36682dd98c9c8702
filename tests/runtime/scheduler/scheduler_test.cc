#include "runtime/scheduler/scheduler.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/kv/block_pool.h"
#include "tests/runtime/scheduler/fake_model.h"

namespace anyprec {
namespace {

constexpr int kBlockTokens = 4;
constexpr int kSeedBits = 3;
constexpr int kParentBits = 8;
constexpr int kVocab = 1000;
// Few, so that some drafts are right.
constexpr int kAnswerVocab = 3;

// A scheduler, its pool and a fake model, in virtual time.
class World {
 public:
  World(const SchedulerOptions& options, int num_blocks)
      : pool_(num_blocks, kBlockTokens),
        model_(num_blocks, kBlockTokens),
        options_(options),
        scheduler_(options, pool_, costs_) {
    for (int bits = kSeedBits; bits <= kParentBits; ++bits) {
      costs_.Measure({Phase::kDecode, bits, 1}, absl::Milliseconds(bits));
      costs_.Measure({Phase::kDecode, bits, 16}, absl::Milliseconds(2 * bits));
      costs_.Measure({Phase::kPrefill, bits, 64}, absl::Milliseconds(40));
    }
  }

  Sequence& Add(Request request) {
    const PrecisionSpec& precision = request.precision;
    const int fixed = precision.fixed_bits.value_or(0);
    const int low = fixed ? fixed : precision.min_bits.value_or(kSeedBits);
    const int high = fixed ? fixed : precision.max_bits.value_or(kParentBits);
    const uint64_t id = next_id_++;
    auto sequence =
        std::make_unique<Sequence>(id, std::move(request), low, high, now_);
    Sequence& added = *sequence;
    live_[id] = std::move(sequence);
    scheduler_.Add(&added);
    return added;
  }

  // One step; checks the plan and ends what is finished.
  StepPlan Step() {
    StepPlan plan = scheduler_.Schedule(now_);
    CheckPlan(plan);
    const std::vector<uint64_t> hashes = model_.Execute(plan);
    now_ += absl::Milliseconds(10);
    std::vector<NewTokens> sampled;
    for (const SequenceStep& step : plan.steps) {
      if (step.samples) sampled.push_back(TokensOf(step, hashes));
    }
    scheduler_.Commit(plan, sampled, now_);
    for (const SequenceStep& step : plan.steps) {
      Sequence* const sequence = step.sequence;
      const int max_tokens = sequence->request.stopping.max_tokens;
      if (sequence->generated() < max_tokens) continue;
      if (max_tokens == 0 && sequence->pending_rows() > 0) continue;
      End(sequence);
    }
    return plan;
  }

  // What greedy decoding makes of the logits.
  NewTokens TokensOf(const SequenceStep& step,
                     const std::vector<uint64_t>& hashes) const {
    NewTokens tokens;
    const Sequence& sequence = *step.sequence;
    const int max_tokens = sequence.request.stopping.max_tokens;
    for (int i = 0; i <= step.num_drafts; ++i) {
      const uint64_t hash =
          hashes[step.first_logits + step.num_logits - 1 - step.num_drafts + i];
      tokens.push_back(static_cast<TokenId>(hash % kAnswerVocab));
      const int answered =
          sequence.generated() + static_cast<int>(tokens.size());
      if (!step.drafts && answered == max_tokens) break;
      if (i < step.num_drafts && tokens.back() != sequence.draft[i]) break;
    }
    return tokens;
  }

  void End(Sequence* sequence) {
    scheduler_.Remove(sequence);
    const auto node = live_.find(sequence->id);
    ended_[sequence->id] = std::move(node->second);
    live_.erase(node);
  }

  void RunAll() {
    for (int step = 0; !live_.empty(); ++step) {
      ASSERT_LT(step, 100000) << "no end in sight";
      ASSERT_FALSE(Step().empty()) << live_.size() << " sequences are stuck";
      if (testing::Test::HasFatalFailure()) return;
    }
    EXPECT_EQ(pool_.num_free(), pool_.num_blocks());
    EXPECT_EQ(scheduler_.num_running() + scheduler_.num_waiting(), 0);
  }

  Scheduler& scheduler() { return scheduler_; }
  const BlockPool& pool() const { return pool_; }
  const std::map<uint64_t, std::unique_ptr<Sequence>>& ended() const {
    return ended_;
  }
  std::map<uint64_t, std::unique_ptr<Sequence>>& live() { return live_; }
  void Advance(absl::Duration time) { now_ += time; }
  absl::Time now() const { return now_; }

 private:
  void CheckPlan(const StepPlan& plan) const;

  BlockPool pool_;
  FakeModel model_;
  StepCostModel costs_;
  const SchedulerOptions options_;
  Scheduler scheduler_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
  uint64_t next_id_ = 1;
  std::map<uint64_t, std::unique_ptr<Sequence>> live_;
  std::map<uint64_t, std::unique_ptr<Sequence>> ended_;
};

// Rows are covered once and in order by sequences and by groups, budgets hold,
// blocks cover every row, nobody writes into one that is another's too,
// precisions are allowed.
void World::CheckPlan(const StepPlan& plan) const {
  const int rows = static_cast<int>(plan.tokens.size());
  int covered = 0;
  for (const RowGroup& group : plan.groups) {
    ASSERT_EQ(group.begin, covered);
    ASSERT_GT(group.end, group.begin);
    covered = group.end;
  }
  ASSERT_EQ(covered, rows);
  std::set<std::pair<Phase, int>> keys;
  for (const RowGroup& group : plan.groups) {
    EXPECT_TRUE(keys.insert({group.phase, group.precision}).second)
        << "two groups of one phase and precision";
  }
  ASSERT_EQ(plan.sequences.size(), plan.steps.size());
  covered = 0;
  int chunk_rows = 0;
  std::map<int32_t, int> holders;
  for (const SequenceRows& place : plan.sequences) {
    for (const int32_t block : place.blocks) ++holders[block];
  }
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const SequenceStep& step = plan.steps[i];
    const SequenceRows& place = plan.sequences[i];
    ASSERT_EQ(place.first_row, covered);
    ASSERT_EQ(place.rows, step.rows);
    ASSERT_GE(static_cast<int>(place.blocks.size()) * kBlockTokens,
              place.position + place.rows);
    covered += place.rows;
    for (int row = place.position; row < place.position + place.rows; ++row) {
      EXPECT_EQ(holders.at(place.blocks[row / kBlockTokens]), 1)
          << "a block belongs to two sequences";
    }
    EXPECT_GE(step.bits, step.drafts ? kSeedBits : step.sequence->min_bits);
    EXPECT_LE(step.bits, step.sequence->max_bits);
    const bool decodes =
        step.phase == Phase::kDecode && !step.sequence->recomputing();
    chunk_rows += decodes ? 0 : step.rows;
    EXPECT_TRUE(!decodes || step.rows == 1 + step.num_drafts) << step.rows;
  }
  ASSERT_EQ(covered, rows);
  EXPECT_LE(chunk_rows, options_.prefill_chunk_tokens);
  EXPECT_LE(static_cast<int>(plan.steps.size()), options_.max_sequences);
}

std::vector<TokenId> RandomPrompt(std::mt19937& random, int length) {
  std::vector<TokenId> prompt(length);
  for (TokenId& token : prompt) token = static_cast<TokenId>(random() % kVocab);
  return prompt;
}

Request MakeRequest(std::vector<TokenId> prompt, int max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.stopping.max_tokens = max_tokens;
  return request;
}

// The tokens that the fake model gives to a sequence with rows at `row_bits`.
std::vector<TokenId> Expected(const Sequence& sequence) {
  std::vector<TokenId> tokens = sequence.request.prompt;
  uint64_t hash = 0;
  for (size_t row = 0; row < sequence.row_bits.size(); ++row) {
    hash = FakeModel::RowHash(hash, tokens[row], static_cast<int>(row),
                              sequence.PhaseOf(static_cast<int>(row)),
                              sequence.row_bits[row]);
    if (row + 1 >= sequence.request.prompt.size()) {
      tokens.push_back(static_cast<TokenId>(hash % kAnswerVocab));
    }
  }
  return tokens;
}

TEST(SchedulerTest, PrefillsInChunksAndDecodesInEveryStep) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 8}, 64);
  std::mt19937 random(1);
  Sequence& first = world.Add(MakeRequest(RandomPrompt(random, 5), 10));
  world.Step();
  EXPECT_EQ(first.generated(), 1);
  Sequence& second = world.Add(MakeRequest(RandomPrompt(random, 20), 10));
  for (const int computed : {8, 16, 20}) {
    const int before = first.generated();
    world.Step();
    EXPECT_EQ(first.generated(), before + 1);
    EXPECT_EQ(second.computed, computed);
  }
  EXPECT_EQ(second.generated(), 1);
}

TEST(SchedulerTest, SharesTheChunkBudgetAmongPrompts) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 10}, 64);
  std::mt19937 random(1);
  Sequence& first = world.Add(MakeRequest(RandomPrompt(random, 6), 2));
  Sequence& second = world.Add(MakeRequest(RandomPrompt(random, 6), 2));
  world.Step();
  EXPECT_EQ(first.computed, 6);
  EXPECT_EQ(second.computed, 4);
}

TEST(SchedulerTest, AdmitsByPriorityThenDeadlineThenArrival) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  std::mt19937 random(1);
  const auto add = [&](int priority, absl::Duration deadline) {
    Request request = MakeRequest(RandomPrompt(random, 3), 1);
    request.priority = priority;
    request.deadline = world.now() + deadline;
    return world.Add(std::move(request)).id;
  };
  const uint64_t late = add(0, absl::Seconds(20));
  const uint64_t none = add(0, absl::InfiniteDuration());
  const uint64_t soon = add(0, absl::Seconds(1));
  const uint64_t also_late = add(0, absl::Seconds(20));
  const uint64_t high = add(1, absl::InfiniteDuration());
  std::vector<uint64_t> order;
  while (!world.live().empty()) {
    const StepPlan plan = world.Step();
    ASSERT_EQ(plan.steps.size(), 1u);
    order.push_back(plan.steps[0].sequence->id);
  }
  EXPECT_EQ(order, (std::vector<uint64_t>{high, soon, late, also_late, none}));
}

TEST(SchedulerTest, UrgentWorkDoesNotStarveARequestWithoutDeadline) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  std::mt19937 random(1);
  const uint64_t patient =
      world.Add(MakeRequest(RandomPrompt(random, 3), 1)).id;
  // More urgent work than the engine can do, for ever.
  int steps = 0;
  while (world.live().contains(patient)) {
    ASSERT_LT(++steps, 10000);
    for (int i = 0; i < 2; ++i) {
      Request urgent = MakeRequest(RandomPrompt(random, 3), 1);
      urgent.deadline = world.now() + absl::Seconds(5);
      world.Add(std::move(urgent));
    }
    world.Step();
  }
  // Due kPatience after its submission, it yields to work due before that.
  EXPECT_LT(
      world.ended().at(patient)->first_scheduled - absl::FromUnixSeconds(1000),
      2 * kPatience);
}

TEST(SchedulerTest, ImportantWorkDoesNotStarveWhatWaitsLongEnough) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  std::mt19937 random(1);
  const uint64_t patient =
      world.Add(MakeRequest(RandomPrompt(random, 3), 1)).id;
  int steps = 0;
  while (world.live().contains(patient)) {
    ASSERT_LT(++steps, 100000);
    for (int i = 0; i < 2; ++i) {
      Request important = MakeRequest(RandomPrompt(random, 3), 1);
      important.priority = 2;
      world.Add(std::move(important));
    }
    world.Step();
  }
  // Two levels are worth twice kPatience; what came before that goes first,
  // twice as much as the engine can do.
  const absl::Duration waited =
      world.ended().at(patient)->first_scheduled - absl::FromUnixSeconds(1000);
  EXPECT_GT(waited, 2 * kPatience);
  EXPECT_LT(waited, 5 * kPatience);
}

TEST(SchedulerTest, AChunkShrinksForTheSakeOfAnAnswersPace) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 256}, 1024);
  std::mt19937 random(1);
  Request paced = MakeRequest(RandomPrompt(random, 3), 50);
  paced.precision.fixed_bits = 8;
  paced.precision.slo.tpot = absl::Milliseconds(60);
  Sequence& first = world.Add(std::move(paced));
  world.Step();
  Sequence& second = world.Add(MakeRequest(RandomPrompt(random, 1000), 2));
  world.Step();
  EXPECT_EQ(first.generated(), 2);
  // 64 rows take 40 ms, the decode 8 ms, and 57 ms are left.
  EXPECT_EQ(second.computed, 64);
  // An answer that is ahead lends its time.
  for (int step = 0; step < 3; ++step) world.Step();
  EXPECT_GT(second.computed, 4 * 64);
  // One that can only be late stops no prompt.
  world.Advance(absl::Seconds(10));
  const int before = second.computed;
  world.Step();
  EXPECT_EQ(second.computed, before + 256);
}

TEST(SchedulerTest, APromptThatHasTimeWaitsForAnAnswerThatHasNone) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 256}, 1024);
  std::mt19937 random(1);
  Request paced = MakeRequest(RandomPrompt(random, 3), 50);
  paced.precision.fixed_bits = 8;
  // A chunk of up to 64 rows and the decode take 48 ms, a step in truth 10 ms:
  // there is time for a chunk every few steps.
  paced.precision.slo.tpot = absl::Milliseconds(20);
  Sequence& answer = world.Add(std::move(paced));
  world.Step();
  Request patient = MakeRequest(RandomPrompt(random, 100), 2);
  patient.precision.slo.ttft = absl::Seconds(1);
  Sequence& prompt = world.Add(std::move(patient));
  world.Step();
  EXPECT_EQ(answer.generated(), 2);
  EXPECT_EQ(prompt.computed, 0);
  int steps = 1;
  while (prompt.computed == 0) {
    world.Step();
    ASSERT_LT(++steps, 8);
  }
  EXPECT_EQ(prompt.computed, 64);

  Request urgent = MakeRequest(RandomPrompt(random, 100), 2);
  urgent.precision.slo.ttft = absl::Milliseconds(140);
  const Sequence& hurried = world.Add(std::move(urgent));
  world.Step();
  EXPECT_GE(hurried.computed, 32);
}

TEST(SchedulerTest, AnAnswerWithoutBlocksKeepsNoPromptWaiting) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 64}, 8);
  std::mt19937 random(1);
  // The answer has no time for a chunk, and soon no block for its next row: the
  // prompt, which ranks first, has them.
  Request prompt = MakeRequest(RandomPrompt(random, 23), 2);
  prompt.priority = 1;
  Request paced = MakeRequest(RandomPrompt(random, 3), 20);
  paced.precision.slo.tpot = absl::Milliseconds(12);
  world.Add(std::move(paced));
  world.Step();
  world.Add(std::move(prompt));
  world.RunAll();
}

TEST(SchedulerTest, LimitsHoldFromTheNextStepOn) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  std::mt19937 random(1);
  Sequence& sequence = world.Add(MakeRequest(RandomPrompt(random, 3), 9));
  EXPECT_EQ(world.Step().steps[0].bits, 8);
  world.scheduler().SetLimits({.min_bits = 3, .max_bits = 5});
  EXPECT_EQ(world.Step().steps[0].bits, 5);
  EXPECT_EQ(world.scheduler().num_drops(), 1);
  world.scheduler().SetLimits({.min_bits = 3, .max_bits = 8});
  EXPECT_EQ(world.Step().steps[0].bits, 8);
  EXPECT_EQ(world.scheduler().num_raises(), 1);
  EXPECT_EQ(sequence.precision_changes, 2);
}

TEST(SchedulerTest, PreemptsTheLowestRankWhenBlocksRunOut) {
  // Two sequences of 8 + 8 tokens want 8 blocks; there are 6.
  World world({.max_sequences = 4, .prefill_chunk_tokens = 64}, 6);
  std::mt19937 random(1);
  Sequence& first = world.Add(MakeRequest(RandomPrompt(random, 7), 9));
  Sequence& second = world.Add(MakeRequest(RandomPrompt(random, 7), 9));
  const uint64_t first_id = first.id;
  const uint64_t second_id = second.id;
  while (world.live().contains(first_id)) {
    world.Step();
    EXPECT_FALSE(world.ended().contains(second_id));
  }
  EXPECT_GT(world.scheduler().num_preemptions(), 0);
  world.RunAll();
  for (const auto& [id, sequence] : world.ended()) {
    EXPECT_EQ(sequence->tokens, Expected(*sequence)) << id;
  }
}

TEST(SchedulerTest, HigherPriorityKeepsItsBlocks) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 64}, 6);
  std::mt19937 random(1);
  const uint64_t low = world.Add(MakeRequest(RandomPrompt(random, 7), 9)).id;
  Request urgent = MakeRequest(RandomPrompt(random, 7), 9);
  urgent.priority = 1;
  const uint64_t high = world.Add(std::move(urgent)).id;
  while (world.live().contains(high)) {
    world.Step();
    EXPECT_TRUE(world.live().contains(low));
  }
  EXPECT_GT(world.scheduler().num_preemptions(), 0);
  world.RunAll();
}

TEST(SchedulerTest, RefusesWhatTheWholePoolCannotHold) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 64}, 6);
  EXPECT_TRUE(world.scheduler().CheckFits(20, 5).ok());  // 24 rows, 6 blocks
  const absl::Status refused = world.scheduler().CheckFits(20, 6);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("7 blocks"), refused.message().npos);
}

TEST(SchedulerTest, ASequenceThatFillsThePoolEnds) {
  World world({.max_sequences = 4, .prefill_chunk_tokens = 64}, 6);
  std::mt19937 random(1);
  world.Add(MakeRequest(RandomPrompt(random, 20), 5));
  world.Add(MakeRequest(RandomPrompt(random, 1), 24));
  world.RunAll();
}

TEST(SchedulerTest, LimitsLogitRowsOfScoredPrompts) {
  World world({.max_sequences = 4,
               .prefill_chunk_tokens = 64,
               .max_prompt_logit_rows = 5},
              64);
  std::mt19937 random(1);
  Request request = MakeRequest(RandomPrompt(random, 12), 0);
  request.prompt_logprobs = true;
  world.Add(std::move(request));
  for (const size_t rows : {5, 5, 2}) {
    EXPECT_EQ(world.Step().logit_rows.size(), rows);
  }
  EXPECT_TRUE(world.live().empty());
}

TEST(SchedulerTest, RecomputesRowsAtThePrecisionTheyHad) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 5}, 64);
  std::mt19937 random(1);
  Sequence& sequence = world.Add(MakeRequest(RandomPrompt(random, 3), 9));
  for (int step = 0; step < 6; ++step) world.Step();
  ASSERT_EQ(sequence.generated(), 6);
  // What a preemption leaves of a sequence that met four precisions.
  const std::vector<uint8_t> bits = {8, 8, 8, 6, 6, 5, 5, 5};
  sequence.row_bits = bits;
  sequence.computed = 0;
  struct Part {
    Phase phase;
    int bits;
    int rows;
  };
  for (const Part part : {Part{Phase::kPrefill, 8, 3},
                          {Phase::kDecode, 6, 2},
                          {Phase::kDecode, 5, 3},
                          {Phase::kDecode, 8, 1}}) {
    const StepPlan plan = world.Step();
    ASSERT_EQ(plan.steps.size(), 1u);
    EXPECT_EQ(plan.steps[0].phase, part.phase);
    EXPECT_EQ(plan.steps[0].bits, part.bits);
    EXPECT_EQ(plan.steps[0].rows, part.rows);
    EXPECT_EQ(plan.steps[0].samples, part.bits == 8 && part.rows == 1);
  }
}

// A prompt of three whole blocks and a token.
std::vector<TokenId> ThreeBlocks() {
  std::vector<TokenId> prompt;
  for (int i = 0; i <= 3 * kBlockTokens; ++i) prompt.push_back(i);
  return prompt;
}

Request FixedRequest(int bits) {
  Request request = MakeRequest(ThreeBlocks(), 2);
  request.precision.fixed_bits = bits;
  return request;
}

TEST(SchedulerPrefixTest, AFixedPrecisionFindsItsOwnRowsOnly) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 5}, 64);
  for (const auto& [bits, cached] : std::vector<std::pair<int, int>>{
           {5, 0}, {6, 0}, {4, 0}, {5, 12}, {6, 12}}) {
    const uint64_t id = world.Add(FixedRequest(bits)).id;
    world.RunAll();
    const Sequence& sequence = *world.ended().at(id);
    EXPECT_EQ(sequence.cached_prompt_rows, cached) << bits;
    EXPECT_EQ(sequence.tokens, Expected(sequence)) << bits;
  }
  EXPECT_EQ(world.scheduler().num_prefix_hits(), 24);
  EXPECT_EQ(world.scheduler().num_prefix_queries(), 5 * 13);
}

TEST(SchedulerPrefixTest, AnAutomaticPrecisionFindsNoLowerRowsThanItsOwn) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  world.Add(FixedRequest(4));
  world.RunAll();
  // Nothing presses: 8 bits are to be had, and 4 would be worse.
  uint64_t id = world.Add(MakeRequest(ThreeBlocks(), 2)).id;
  world.RunAll();
  EXPECT_EQ(world.ended().at(id)->cached_prompt_rows, 0);
  // What is better than it would get is taken, too.
  world.scheduler().SetLimits({.min_bits = 3, .max_bits = 6});
  id = world.Add(MakeRequest(ThreeBlocks(), 2)).id;
  world.RunAll();
  const Sequence& sequence = *world.ended().at(id);
  EXPECT_EQ(sequence.cached_prompt_rows, 12);
  EXPECT_EQ(sequence.row_bits[0], 8);
  EXPECT_EQ(sequence.row_bits[12], 6);
  EXPECT_EQ(sequence.tokens, Expected(sequence));
  // Its own ceiling is none of the operator's.
  Request low = MakeRequest(ThreeBlocks(), 2);
  low.precision.max_bits = 7;
  id = world.Add(std::move(low)).id;
  world.RunAll();
  EXPECT_EQ(world.ended().at(id)->cached_prompt_rows, 0);
}

TEST(SchedulerPrefixTest, PromptsAlikeShareTheirBlocksWhileTheyRun) {
  World world({.max_sequences = 8, .prefill_chunk_tokens = 128}, 64);
  for (int i = 0; i < 8; ++i) world.Add(FixedRequest(5));
  world.Step();
  // All came at once and were computed eight times; three blocks are left, and
  // one each.
  EXPECT_EQ(world.pool().num_held(), 3 + 8);
  world.RunAll();
}

TEST(SchedulerPrefixTest, AScoredPromptIsComputedWhole) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 64);
  world.Add(FixedRequest(5));
  world.RunAll();
  Request scored = FixedRequest(5);
  scored.stopping.max_tokens = 0;
  scored.prompt_logprobs = true;
  world.Add(std::move(scored));
  EXPECT_EQ(world.Step().logit_rows.size(), 13u);
}

TEST(SchedulerPrefixTest, WhatIsKeptGivesWayToWhoRuns) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 64}, 6);
  std::mt19937 random(1);
  world.Add(FixedRequest(5));
  world.RunAll();
  world.Add(MakeRequest(RandomPrompt(random, 20), 5));  // all six blocks
  world.RunAll();
  const uint64_t id = world.Add(FixedRequest(5)).id;
  world.RunAll();
  EXPECT_EQ(world.ended().at(id)->cached_prompt_rows, 0);
}

TEST(SchedulerPrefixTest, ThePolicyExpectsWhatIsKept) {
  World world({.max_sequences = 1, .prefill_chunk_tokens = 16}, 1024);
  std::mt19937 random(1);
  const std::vector<TokenId> prompt = RandomPrompt(random, 640);
  const auto add = [&] {
    Request request = MakeRequest(prompt, 2);
    request.precision.slo.ttft = absl::Milliseconds(100);
    return world.Add(std::move(request)).id;
  };
  // Forty times 64 rows in 40 ms each are no matter of 100 ms.
  const uint64_t cold = add();
  EXPECT_LT(world.Step().steps[0].bits, 8);
  world.RunAll();
  EXPECT_EQ(world.ended().at(cold)->cached_prompt_rows, 0);
  Request fixed = MakeRequest(prompt, 2);
  fixed.precision.fixed_bits = 8;
  world.Add(std::move(fixed));
  world.RunAll();
  const uint64_t warm = add();
  EXPECT_EQ(world.Step().steps[0].bits, 8);
  world.RunAll();
  EXPECT_EQ(world.ended().at(warm)->cached_prompt_rows, 636);
}

// Any mix of lengths, precisions, priorities, deadlines and cancellations, with
// a pool so small that preemption is common, and prompts that begin alike.
TEST(SchedulerSpeculationTest, DraftsAtLowBitsAndVerifiesInOneStep) {
  World world({.draft_bits = {kSeedBits, kParentBits}}, 64);
  std::mt19937 random(1);
  Request request = MakeRequest(RandomPrompt(random, 5), 12);
  request.precision.fixed_bits = 8;
  request.speculation = {.draft_tokens = 3, .draft_bits = 4};
  const Sequence& sequence = world.Add(std::move(request));
  world.Step();
  ASSERT_EQ(sequence.generated(), 1);
  for (int draft = 0; draft < 3; ++draft) {
    const StepPlan plan = world.Step();
    EXPECT_EQ(plan.steps[0].bits, 4);
    EXPECT_EQ(plan.steps[0].position, 5 + draft);
    EXPECT_EQ(static_cast<int>(sequence.draft.size()), draft + 1);
    EXPECT_EQ(sequence.generated(), 1);
  }
  const StepPlan plan = world.Step();
  EXPECT_EQ(plan.steps[0].bits, 8);
  EXPECT_EQ(plan.steps[0].rows, 4);
  EXPECT_EQ(plan.steps[0].num_logits, 4);
  EXPECT_TRUE(sequence.draft.empty());
  EXPECT_GE(sequence.generated(), 2);
  EXPECT_EQ(sequence.draft_tokens, 3);
  EXPECT_EQ(sequence.accepted_draft_tokens, sequence.generated() - 2);
  EXPECT_EQ(sequence.pending_rows(), 1);
  world.RunAll();
}

TEST(SchedulerSpeculationTest, NeverDraftsBeyondTheAnswersEnd) {
  World world({.draft_bits = {kSeedBits, kParentBits}}, 64);
  std::mt19937 random(1);
  Request request = MakeRequest(RandomPrompt(random, 5), 3);
  request.speculation = {.draft_tokens = 8, .draft_bits = 3};
  const Sequence& sequence = world.Add(std::move(request));
  world.Step();
  world.Step();
  EXPECT_EQ(sequence.draft_goal, 1);
  world.RunAll();
}

TEST(SchedulerSpeculationTest, WhoLeavesItToTheSchedulerDraftsTogether) {
  World world({.max_sequences = 4,
               .speculate = true,
               .draft_bits = {kSeedBits, kParentBits}},
              256);
  std::mt19937 random(1);
  const Sequence& first = world.Add(MakeRequest(RandomPrompt(random, 5), 100));
  world.Step();
  world.Step();
  ASSERT_EQ(first.draft.size(), 1u);
  // One that comes in the middle of a window decodes plainly until it ends.
  const Sequence& second = world.Add(MakeRequest(RandomPrompt(random, 5), 100));
  world.Step();
  while (first.draft_goal > 0) {
    EXPECT_EQ(second.draft_goal, 0);
    world.Step();
  }
  world.Step();
  EXPECT_EQ(first.draft.size(), 1u);
  EXPECT_EQ(second.draft.size(), 1u);
  EXPECT_EQ(first.draft_goal, second.draft_goal);
  world.RunAll();
}

class SchedulerPropertyTest : public testing::TestWithParam<int> {};

TEST_P(SchedulerPropertyTest, LosesNothingAndComputesEachRowAsItWas) {
  std::mt19937 random(GetParam());
  const int num_blocks = 12 + static_cast<int>(random() % 40);
  const SchedulerOptions options = {
      .max_sequences = 1 + static_cast<int>(random() % 12),
      .prefill_chunk_tokens = 1 + static_cast<int>(random() % 40),
      .max_prompt_logit_rows = 1 + static_cast<int>(random() % 40),
      .speculate = random() % 2 == 0,
      .draft_bits = {kSeedBits, kParentBits}};
  World world(options, num_blocks);
  const int longest = num_blocks * kBlockTokens;
  std::vector<std::vector<TokenId>> beginnings;
  for (int i = 0; i < 3; ++i) {
    beginnings.push_back(RandomPrompt(random, longest));
  }
  int added = 0;
  std::set<uint64_t> cancelled;
  const auto add = [&] {
    const int prompt = 1 + static_cast<int>(random() % (longest / 2));
    std::vector<TokenId> tokens = RandomPrompt(random, prompt);
    const size_t alike = random() % (tokens.size() + 1);
    std::copy_n(beginnings[random() % beginnings.size()].begin(), alike,
                tokens.begin());
    Request request =
        MakeRequest(std::move(tokens), 1 + static_cast<int>(random() % 30));
    if (random() % 8 == 0) {
      request.stopping.max_tokens = 0;
      request.prompt_logprobs = true;
    }
    if (!world.scheduler()
             .CheckFits(prompt, request.stopping.max_tokens)
             .ok()) {
      return;
    }
    request.priority = static_cast<int>(random() % 3);
    if (random() % 2 == 0) {
      request.precision.fixed_bits = 3 + static_cast<int>(random() % 6);
    } else {
      request.precision.min_bits = 3 + static_cast<int>(random() % 3);
      if (random() % 2 == 0) {
        request.precision.slo.tpot =
            absl::Milliseconds(static_cast<int>(random() % 60));
      }
      if (random() % 2 == 0) {
        request.precision.slo.ttft =
            absl::Milliseconds(static_cast<int>(random() % 300));
      }
      if (random() % 2 == 0) {
        request.deadline =
            world.now() + absl::Milliseconds(static_cast<int>(random() % 900));
      }
    }
    if (random() % 2 == 0) {
      SpeculationSpec& speculation = request.speculation.emplace();
      if (random() % 2 == 0) speculation.draft_tokens = random() % 5;
      if (random() % 2 == 0) speculation.draft_bits = 3 + random() % 3;
    }
    world.Add(std::move(request));
    ++added;
  };
  for (int step = 0; step < 300; ++step) {
    for (int n = static_cast<int>(random() % 3); n > 0; --n) add();
    if (world.live().empty()) continue;
    if (random() % 10 == 0) {
      auto victim = world.live().begin();
      std::advance(victim, random() % world.live().size());
      cancelled.insert(victim->first);
      world.End(victim->second.get());
      continue;
    }
    ASSERT_FALSE(world.Step().empty());
    if (HasFatalFailure()) return;
  }
  world.RunAll();
  ASSERT_EQ(static_cast<int>(world.ended().size()), added);
  for (const auto& [id, sequence] : world.ended()) {
    if (cancelled.contains(id)) continue;
    ASSERT_EQ(sequence->generated(), sequence->request.stopping.max_tokens);
    if (sequence->generated() == 0) continue;
    ASSERT_EQ(sequence->tokens, Expected(*sequence)) << id;
    if (!sequence->request.precision.fixed_bits.has_value()) continue;
    for (const int bits : sequence->row_bits) {
      ASSERT_EQ(bits, *sequence->request.precision.fixed_bits);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SchedulerPropertyTest, testing::Range(0, 24));

}  // namespace
}  // namespace anyprec
