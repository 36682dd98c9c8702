#include "tests/runtime/scheduler/scheduler_world.h"

#include <cstddef>
#include <set>

#include "gtest/gtest.h"

namespace anyprec {

World::World(const SchedulerOptions& options, int num_blocks)
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

Sequence& World::Add(Request request) {
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

StepPlan World::Step() {
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

NewTokens World::TokensOf(const SequenceStep& step,
                          const std::vector<uint64_t>& hashes) const {
  NewTokens tokens;
  const Sequence& sequence = *step.sequence;
  const int max_tokens = sequence.request.stopping.max_tokens;
  for (int i = 0; i <= step.num_drafts; ++i) {
    const uint64_t hash =
        hashes[step.first_logits + step.num_logits - 1 - step.num_drafts + i];
    tokens.push_back(static_cast<TokenId>(hash % kAnswerVocab));
    const int answered = sequence.generated() + static_cast<int>(tokens.size());
    if (!step.drafts && answered == max_tokens) break;
    if (i < step.num_drafts && tokens.back() != sequence.draft[i]) break;
  }
  return tokens;
}

void World::End(Sequence* sequence) {
  scheduler_.Remove(sequence);
  const auto node = live_.find(sequence->id);
  ended_[sequence->id] = std::move(node->second);
  live_.erase(node);
}

void World::RunAll() {
  for (int step = 0; !live_.empty(); ++step) {
    ASSERT_LT(step, 100000) << "no end in sight";
    ASSERT_FALSE(Step().empty()) << live_.size() << " sequences are stuck";
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_EQ(pool_.num_free(), pool_.num_blocks());
  EXPECT_EQ(scheduler_.num_running() + scheduler_.num_waiting(), 0);
}

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

}  // namespace anyprec
