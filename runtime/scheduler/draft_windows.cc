#include "runtime/scheduler/draft_windows.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace anyprec {
namespace {

bool LeavesItToUs(const SpeculationSpec& spec) {
  return !spec.draft_tokens.has_value() && !spec.draft_bits.has_value();
}

}  // namespace

int AcceptedDrafts(std::span<const TokenId> draft, const NewTokens& tokens) {
  const auto [end, unused] =
      std::mismatch(draft.begin(), draft.end(), tokens.begin(), tokens.end());
  return static_cast<int>(end - draft.begin());
}

DraftWindows::DraftWindows(const DraftWindowOptions& options, BlockPool& pool,
                           const StepCostModel& costs)
    : options_(options), pool_(pool), costs_(costs) {}

void DraftWindows::Open(std::span<Sequence* const> decoding,
                        int reserved_blocks) {
  acceptance_.Fade();
  std::vector<Sequence*> together;
  bool all_closed = true;  // the windows of those who open them together
  for (Sequence* const sequence : decoding) {
    const std::optional<SpeculationSpec>& asked = sequence->request.speculation;
    if (!asked.has_value() && !options_.speculate) continue;
    const SpeculationSpec spec = asked.value_or(SpeculationSpec());
    if (LeavesItToUs(spec)) {
      together.push_back(sequence);
      all_closed = all_closed && sequence->draft_goal == 0;
      continue;
    }
    if (sequence->draft_goal > 0 || spec.draft_tokens == 0) continue;
    DraftQuery query;
    query.least_tokens = spec.draft_tokens.value_or(0);
    query.most_tokens = spec.draft_tokens.value_or(kMaxDraftTokens);
    query.bits = options_.bits;
    if (spec.draft_bits.has_value()) {
      query.bits = {*spec.draft_bits, *spec.draft_bits};
    }
    OpenOne(*sequence, Choose(decoding, {&sequence, 1}, std::move(query)),
            reserved_blocks);
  }
  if (!all_closed || together.empty()) return;
  const DraftWindow window =
      Choose(decoding, together, {.bits = options_.bits});
  for (Sequence* const sequence : together) {
    OpenOne(*sequence, window, reserved_blocks);
  }
}

DraftWindow DraftWindows::Choose(std::span<Sequence* const> decoding,
                                 std::span<Sequence* const> speculating,
                                 DraftQuery query) const {
  std::array<RowCount, std::tuple_size_v<BitsHistogram>> inside = {};
  std::array<RowCount, std::tuple_size_v<BitsHistogram>> outside = {};
  for (Sequence* const sequence : decoding) {
    const bool is_inside = std::find(speculating.begin(), speculating.end(),
                                     sequence) != speculating.end();
    // Most steps of a window are drafts.
    const int bits =
        sequence->draft_goal > 0 ? sequence->draft_bits : sequence->next_bits;
    RowCount& group = (is_inside ? inside : outside)[bits];
    group.bits = bits;
    ++group.rows;
    group.context += sequence->computed;
  }
  const auto any = [](const RowCount& group) { return group.rows > 0; };
  std::copy_if(inside.begin(), inside.end(),
               std::back_inserter(query.speculating), any);
  std::copy_if(outside.begin(), outside.end(), std::back_inserter(query.others),
               any);
  return ChooseDraftWindow(query, acceptance_, costs_);
}

// Drafts no more than the answer may still have.
void DraftWindows::OpenOne(Sequence& sequence, const DraftWindow& window,
                           int reserved_blocks) {
  const int room = sequence.request.stopping.max_tokens - sequence.generated();
  const int goal = std::min(window.tokens, room - 1);
  if (goal <= 0) return;
  const int missing = std::max(
      0, pool_.BlocksFor(static_cast<int>(sequence.tokens.size()) + goal) -
             static_cast<int>(sequence.blocks.size()));
  if (missing > 0 && missing + reserved_blocks > pool_.num_free()) return;
  pool_.Allocate(missing, sequence.blocks);
  sequence.draft_goal = goal;
  sequence.draft_bits = window.bits;
}

void DraftWindows::Close(Sequence& sequence, const NewTokens& tokens) {
  const int drafted = static_cast<int>(sequence.draft.size());
  const int accepted = AcceptedDrafts(sequence.draft, tokens);
  // Nothing is known of what was drafted beyond the answer's end.
  const int judged = std::min(drafted, static_cast<int>(tokens.size()));
  acceptance_.Add(sequence.draft_bits, judged, accepted);
  sequence.draft_tokens += drafted;
  sequence.accepted_draft_tokens += accepted;
  sequence.draft.clear();
  sequence.draft_goal = 0;
}

}  // namespace anyprec
