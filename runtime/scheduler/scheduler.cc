#include "runtime/scheduler/scheduler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "runtime/scheduler/prompt_pace.h"
#include "runtime/scheduler/sequence_timing.h"

namespace anyprec {
namespace {

// Prompts wait for answers that are short of time until this many times what
// they are predicted to take is left. More would make answers late for prompts
// that had time, less prompts for an error of the prediction.
constexpr double kPromptMargin = 1.25;

// What rank goes by.
absl::Time DueTime(const Sequence& sequence) {
  const Request& request = sequence.request;
  return DueTime(sequence.submitted, request.precision.slo, request.deadline,
                 request.priority);
}

// The one precision at which `count` rows were computed, or nullopt.
std::optional<int> BitsOfRows(const Sequence& sequence, int first, int count) {
  const std::vector<uint8_t>& bits = sequence.row_bits;
  if (first + count > static_cast<int>(bits.size())) return std::nullopt;
  const auto begin = bits.begin() + first;
  if (std::any_of(begin, begin + count,
                  [&](uint8_t row) { return row != *begin; })) {
    return std::nullopt;
  }
  return *begin;
}

// At which precisions `count` rows may be taken from the prefix cache. Empty:
// not at all.
BitsRange CachedBits(const Sequence& sequence, int first, int count,
                     int low_bits) {
  if (first >= static_cast<int>(sequence.row_bits.size())) {
    return {low_bits, sequence.max_bits};
  }
  const std::optional<int> had = BitsOfRows(sequence, first, count);
  return had.has_value() ? BitsRange{*had, *had} : BitsRange{1, 0};
}

}  // namespace

bool Scheduler::RankLess::operator()(const Sequence* a,
                                     const Sequence* b) const {
  const absl::Time due_a = DueTime(*a);
  const absl::Time due_b = DueTime(*b);
  return std::tie(due_a, a->id) < std::tie(due_b, b->id);
}

Scheduler::Scheduler(const SchedulerOptions& options, BlockPool& pool,
                     const StepCostModel& costs)
    : options_(options),
      pool_(pool),
      costs_(costs),
      windows_(options.drafts, pool, costs) {
  ANYPREC_CHECK(options.max_sequences > 0 && options.prefill_chunk_tokens > 0 &&
                options.max_prompt_logit_rows > 0)
      << "every limit of a step must be positive";
  if (options.prefix_cache) prefixes_.emplace(pool);
}

absl::Status Scheduler::CheckFits(int prompt_tokens, int max_tokens) const {
  // The last token that is generated is never computed.
  const int rows = prompt_tokens + std::max(0, max_tokens - 1);
  const int blocks = pool_.BlocksFor(rows);
  if (blocks > pool_.num_blocks()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "KV cache: a prompt of ", prompt_tokens, " and max_tokens of ",
        max_tokens, " need ", blocks, " blocks of ", pool_.block_tokens(),
        " tokens, the whole cache has ", pool_.num_blocks()));
  }
  return absl::OkStatus();
}

void Scheduler::Add(Sequence* sequence) {
  ANYPREC_CHECK(sequence->prompt_tokens > 0) << sequence->request.id;
  ANYPREC_CHECK(
      CheckFits(sequence->prompt_tokens, sequence->request.stopping.max_tokens)
          .ok())
      << sequence->request.id;
  std::vector<uint8_t> row_bits;
  KnownBlocks(*sequence, sequence->min_bits, row_bits);
  sequence->expected_rows = static_cast<int>(row_bits.size());
  waiting_.insert(sequence);
}

void Scheduler::Remove(Sequence* sequence) {
  served_.AddAnswer(sequence->generated());
  pool_.Free(sequence->blocks);
  sequence->blocks.clear();
  if (waiting_.erase(sequence) == 0) std::erase(running_, sequence);
}

StepPlan Scheduler::Schedule(absl::Time now) {
  GrowBlockTables();
  ChooseNextBits(now);
  Admit();
  // Blocks are left for all who run: each will want one soon.
  windows_.Open(Decoding(), num_running());
  std::vector<SequenceStep> steps = SelectRows(now);
  for (const SequenceStep& step : steps) {
    if (step.sequence->first_scheduled == absl::InfinitePast()) {
      step.sequence->first_scheduled = now;
    }
  }
  return MakeStepPlan(std::move(steps));
}

// A running sequence holds blocks for all its tokens but the newest one.
void Scheduler::GrowBlockTables() {
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence* const sequence = running_[i];
    // More than it needs where drafts were not accepted.
    const int missing =
        std::max(0, pool_.BlocksFor(static_cast<int>(sequence->tokens.size())) -
                        static_cast<int>(sequence->blocks.size()));
    while (missing > pool_.num_free() && running_.back() != sequence) {
      PreemptLowest();
    }
    // The lowest itself keeps what it has and sits steps out until a block
    // comes free; those above it may still preempt it.
    pool_.Allocate(missing, sequence->blocks);
  }
}

void Scheduler::PreemptLowest() {
  Sequence* const victim = running_.back();
  running_.pop_back();
  pool_.Free(victim->blocks);
  victim->blocks.clear();
  victim->cached_blocks = 0;
  victim->computed = 0;
  victim->draft.clear();
  victim->draft_goal = 0;
  waiting_.insert(victim);
  ++num_preemptions_;
}

void Scheduler::Admit() {
  while (!waiting_.empty() && num_running() < options_.max_sequences) {
    Sequence* const next = *waiting_.begin();
    if (!TakeBlocks(*next)) return;
    waiting_.erase(waiting_.begin());
    running_.insert(
        std::upper_bound(running_.begin(), running_.end(), next, RankLess()),
        next);
  }
}

// Gives a sequence the blocks of all its tokens, those that are known with
// their rows; returns false and changes nothing where too few are free.
bool Scheduler::TakeBlocks(Sequence& sequence) {
  const bool begins = sequence.row_bits.empty();
  std::vector<uint8_t> row_bits;
  std::vector<int32_t> table =
      KnownBlocks(sequence, sequence.next_bits, row_bits);
  const int known = static_cast<int>(table.size());
  for (const int32_t block : table) pool_.Hold(block);
  const int missing =
      pool_.BlocksFor(static_cast<int>(sequence.tokens.size())) - known;
  // One more block for each running sequence, which it will want soon: or who
  // comes in now is preempted a few steps later.
  if (!running_.empty() && missing + num_running() > pool_.num_free()) {
    pool_.Free(table);
    return false;
  }
  const bool allocated = pool_.Allocate(missing, table);
  ANYPREC_CHECK(allocated) << missing << " blocks, " << pool_.num_free()
                           << " free, nothing running";
  sequence.blocks = std::move(table);
  sequence.cached_blocks = known;
  sequence.computed = known * pool_.block_tokens();
  if (row_bits.size() > sequence.row_bits.size()) {
    sequence.row_bits = std::move(row_bits);
  }
  sequence.expected_rows = sequence.computed;
  if (begins) {
    sequence.cached_prompt_rows = sequence.computed;
    num_prefix_queries_ += sequence.prompt_tokens;
    num_prefix_hits_ += sequence.computed;
  }
  return true;
}

// The blocks of the prefix cache that `sequence` may begin with, and in
// `row_bits` the precisions of their rows: those that it had, and at least
// `low_bits` where it had none.
std::vector<int32_t> Scheduler::KnownBlocks(
    const Sequence& sequence, int low_bits,
    std::vector<uint8_t>& row_bits) const {
  std::vector<int32_t> blocks;
  // A prompt that is scored wants the logits of all its rows.
  if (!prefixes_.has_value() || sequence.request.prompt_logprobs) return blocks;
  const int rows = pool_.block_tokens();
  // The newest row is computed in any case: the next token comes from it.
  const int end = std::min(sequence.prompt_tokens,
                           static_cast<int>(sequence.tokens.size()) - 1);
  for (int row = 0; row + rows <= end; row += rows) {
    const BitsRange allowed = CachedBits(sequence, row, rows, low_bits);
    PrefixKey key = {.previous = blocks.empty() ? -1 : blocks.back(),
                     .bits = allowed.max,
                     .tokens = std::span(sequence.tokens).subspan(row, rows)};
    std::optional<int32_t> found;
    for (; key.bits >= allowed.min; --key.bits) {
      found = prefixes_->Find(key);
      if (found.has_value()) break;
    }
    if (!found.has_value()) break;
    blocks.push_back(*found);
    row_bits.insert(row_bits.end(), rows, static_cast<uint8_t>(key.bits));
  }
  return blocks;
}

// Puts the whole blocks of its prompt that are computed into the prefix cache.
void Scheduler::RememberBlocks(Sequence& sequence) {
  if (!prefixes_.has_value()) return;
  const int rows = pool_.block_tokens();
  const int end = std::min(sequence.prompt_tokens, sequence.computed);
  int& block = sequence.cached_blocks;
  for (int row = block * rows; row + rows <= end; row += rows, ++block) {
    const std::optional<int> bits = BitsOfRows(sequence, row, rows);
    if (!bits.has_value()) return;
    sequence.blocks[block] = prefixes_->Add(
        {.previous = block == 0 ? -1 : sequence.blocks[block - 1],
         .bits = *bits,
         .tokens = std::span(sequence.tokens).subspan(row, rows)},
        sequence.blocks[block]);
  }
}

// Those that the next step has a row of: others lack a block for it.
std::vector<Sequence*> Scheduler::Decoding() const {
  std::vector<Sequence*> decoding;
  for (Sequence* const sequence : running_) {
    if (sequence->decodes() && HasBlocks(*sequence)) {
      decoding.push_back(sequence);
    }
  }
  return decoding;
}

// Whether there are blocks for all its tokens.
bool Scheduler::HasBlocks(const Sequence& sequence) const {
  return pool_.BlocksFor(static_cast<int>(sequence.tokens.size())) <=
         static_cast<int>(sequence.blocks.size());
}

// Prompt rows of the next step: all that are allowed, or fewer, so that no
// decoding sequence gets its next token late, and rows cost least (PromptPace).
// None only where some sequence decodes in it.
int Scheduler::ChunkBudget(absl::Time now) const {
  const auto prompt =
      std::find_if(running_.begin(), running_.end(),
                   [](const Sequence* s) { return !s->decodes(); });
  if (prompt == running_.end()) return options_.prefill_chunk_tokens;
  const int prompt_bits = (*prompt)->next_bits;
  const std::vector<Sequence*> answers = Decoding();
  std::vector<RowCount> decodes(std::tuple_size_v<BitsHistogram>);
  for (Sequence* const answer : answers) {
    const SequenceStep step = DecodeStep(*answer);
    RowCount& group = decodes[step.bits];
    group.bits = step.bits;
    group.rows += step.rows;
    group.context += int64_t{step.rows} * step.position;
  }
  std::erase_if(decodes, [](const RowCount& group) { return group.rows == 0; });
  const absl::Duration step = costs_.Predict(decodes);
  absl::Duration budget = absl::InfiniteDuration();
  for (const Sequence* const answer : answers) {
    budget = std::min(budget, NextTokenIn(*answer, step, now));
  }
  PromptPace pace(costs_, step, budget, options_.prefill_chunk_tokens);
  if (!pace.ChunkFits(prompt_bits) && PromptsCanWait(pace, step, now)) return 0;
  return pace.ChunkRows(prompt_bits);
}

// Whether every prompt that runs, and can be in time at all, is so even if it
// begins a little later.
bool Scheduler::PromptsCanWait(PromptPace& pace, absl::Duration step,
                               absl::Time now) const {
  absl::Duration work;
  for (const Sequence* const sequence : running_) {
    if (sequence->decodes()) continue;
    // It was preempted in the middle of its answer.
    if (sequence->generated() > 0) return false;
    const int bits = sequence->next_bits;
    const int rows = sequence->rows_left();
    const double chunks = static_cast<double>(rows) / pace.ChunkRows(bits);
    work += rows * pace.RowTime(bits) + std::ceil(chunks) * step;
    const absl::Time due = FirstTokenDue(*sequence, step);
    // One that can only be late holds nobody up.
    if (now + work <= due && now + kPromptMargin * work > due) return false;
  }
  return true;
}

std::vector<SequenceStep> Scheduler::SelectRows(absl::Time now) const {
  std::vector<SequenceStep> steps;
  steps.reserve(running_.size());
  int row_budget = ChunkBudget(now);
  const bool small_chunk = row_budget < options_.prefill_chunk_tokens;
  int chunk_bits = 0;  // of its first rows
  int logit_budget = options_.max_prompt_logit_rows;
  for (Sequence* const sequence : running_) {
    if (!HasBlocks(*sequence)) continue;
    if (sequence->decodes()) {
      steps.push_back(DecodeStep(*sequence));
      continue;
    }
    const SequenceStep step = ChunkStep(*sequence, row_budget, logit_budget);
    if (step.rows == 0) continue;
    // Another precision would cost as much again as a few rows do, which a
    // small chunk has no time for, or is to save.
    if (chunk_bits == 0) chunk_bits = step.bits;
    if (small_chunk && step.bits != chunk_bits) continue;
    row_budget -= step.rows;
    if (sequence->request.prompt_logprobs) logit_budget -= step.num_logits;
    steps.push_back(step);
  }
  return steps;
}

// For the running sequences, then for those that wait, as far as they could run
// together.
void Scheduler::ChooseNextBits(absl::Time now) {
  std::vector<Sequence*> sequences = running_;
  std::vector<PrecisionDemand> demands;
  std::vector<int> ends;  // steps after which a place is free
  for (const Sequence* const sequence : running_) {
    demands.push_back(DemandOf(*sequence, now));
    ends.push_back(demands.back().tokens_left);
  }
  std::sort(ends.begin(), ends.end());
  size_t free_places = options_.max_sequences - running_.size();
  size_t next_end = 0;
  for (Sequence* const sequence : waiting_) {
    if (demands.size() >= running_.size() + options_.max_sequences) break;
    sequences.push_back(sequence);
    demands.push_back(DemandOf(*sequence, now));
    if (free_places > 0) {
      --free_places;
    } else if (next_end < ends.size()) {
      demands.back().steps_until_start = std::max(1, ends[next_end++]);
    }
  }
  PolicyInput input;
  input.demands = demands;
  input.num_running = num_running();
  input.num_waiting = num_waiting();
  input.prefill_chunk_tokens = options_.prefill_chunk_tokens;
  input.pressure = pressure_;
  input.recent = served_.At(now);
  input.limits = limits_;
  const std::vector<int> bits =
      ChoosePrecisions(options_.policy, input, costs_);
  for (size_t i = 0; i < sequences.size(); ++i) {
    sequences[i]->next_bits = bits[i];
  }
}

QueueSnapshot Scheduler::Snapshot() const {
  QueueSnapshot snapshot;
  snapshot.max_sequences = options_.max_sequences;
  snapshot.prefill_chunk_tokens = options_.prefill_chunk_tokens;
  const auto add = [&](const Sequence& sequence, bool waits) {
    const Slo& slo = sequence.request.precision.slo;
    const BitsRange bits = AllowedBits(options_.policy, limits_,
                                       {sequence.min_bits, sequence.max_bits});
    if (!sequence.decodes()) {
      PendingPrompt prompt;
      prompt.due = DueTime(sequence);
      prompt.rows = sequence.rows_left();
      prompt.bits = QuickestPromptBits(bits, prompt.rows, costs_);
      prompt.context = int64_t{prompt.rows} * sequence.rows_done();
      prompt.waits = waits;
      prompt.priority = sequence.request.priority;
      if (slo.ttft.has_value() && sequence.generated() == 0) {
        prompt.wanted = sequence.submitted + *slo.ttft;
      }
      snapshot.prompts.push_back(prompt);
    }
    if (waits) return;
    if (slo.tpot.has_value()) {
      snapshot.token_budget = std::min(snapshot.token_budget, *slo.tpot);
    }
    snapshot.answers.push_back(
        {bits, static_cast<int64_t>(sequence.tokens.size())});
    snapshot.tokens_left.push_back(TokensLeft(sequence));
  };
  for (const Sequence* const sequence : running_) add(*sequence, false);
  for (const Sequence* const sequence : waiting_) add(*sequence, true);
  std::sort(snapshot.tokens_left.begin(), snapshot.tokens_left.end());
  return snapshot;
}

void Scheduler::Commit(const StepPlan& plan, std::span<const NewTokens> sampled,
                       absl::Time now) {
  absl::Duration prompt_time;
  int prompt_rows = 0;
  for (const RowCount& group : RowCounts(plan)) {
    if (group.phase != Phase::kPrefill) continue;
    prompt_time += costs_.Predict(group);
    prompt_rows += group.rows;
  }
  served_.AddStep(prompt_rows, prompt_time, now);
  size_t next_sampled = 0;
  for (const SequenceStep& step : plan.steps) {
    Sequence& sequence = *step.sequence;
    if (!step.samples) {
      TakeRows(sequence, step.rows, step.bits);
      continue;
    }
    ANYPREC_CHECK(next_sampled < sampled.size()) << sampled.size();
    const NewTokens& tokens = sampled[next_sampled++];
    if (step.drafts) {
      sequence.draft.push_back(tokens.front());
      continue;
    }
    // Rows of drafts that were not accepted count as never computed.
    TakeRows(sequence,
             step.num_drafts > 0 ? static_cast<int>(tokens.size()) : step.rows,
             step.bits);
    if (step.num_drafts > 0) windows_.Close(sequence, tokens);
    for (const TokenId token : tokens) TakeToken(sequence, token, step.bits);
    if (sequence.first_token == absl::InfinitePast()) {
      sequence.first_token = now;
    }
    sequence.last_token = now;
  }
}

// The next `rows` rows of the sequence are in its KV cache.
void Scheduler::TakeRows(Sequence& sequence, int rows, int bits) {
  sequence.computed += rows;
  sequence.current_bits = bits;
  if (sequence.computed > static_cast<int>(sequence.row_bits.size())) {
    sequence.row_bits.resize(sequence.computed, static_cast<uint8_t>(bits));
  }
  RememberBlocks(sequence);
}

void Scheduler::TakeToken(Sequence& sequence, TokenId token, int bits) {
  sequence.tokens.push_back(token);
  ++sequence.tokens_by_bits[bits];
  if (sequence.last_token_bits != 0 && sequence.last_token_bits != bits) {
    ++sequence.precision_changes;
    ++(bits > sequence.last_token_bits ? num_raises_ : num_drops_);
  }
  sequence.last_token_bits = bits;
}

}  // namespace anyprec
