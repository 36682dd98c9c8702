#include "runtime/scheduler/speculation.h"

#include <algorithm>

#include "kernels/check.h"

namespace anyprec {
namespace {

// What is believed of a draft precision before anything was verified, and with
// how many tokens' weight: enough to give it a try.
constexpr double kPriorAcceptance = 0.8;
constexpr double kPriorTokens = 4;

// Evidence is an average over some twenty windows: texts differ.
constexpr double kWindowDecay = 0.95;
// Half of it is gone after 700 steps.
constexpr double kStepDecay = 0.999;

// A window must be this much faster than plain decoding, so that errors of the
// prediction do not turn gain to loss.
constexpr double kLeastGain = 1.05;

// Rows by precision, as a step groups them.
class StepRows {
 public:
  explicit StepRows(std::span<const RowCount> groups)
      : groups_(groups.begin(), groups.end()) {}

  void Add(const RowCount& rows) {
    for (RowCount& group : groups_) {
      if (group.bits != rows.bits) continue;
      group.rows += rows.rows;
      group.context += rows.context;
      return;
    }
    groups_.push_back(rows);
  }

  absl::Duration Time(const StepCostModel& costs) const {
    return costs.Predict(groups_);
  }

 private:
  std::vector<RowCount> groups_;
};

absl::Duration PlainTime(const DraftQuery& query, const StepCostModel& costs) {
  StepRows step(query.others);
  for (const RowCount& rows : query.speculating) step.Add(rows);
  return step.Time(costs);
}

absl::Duration DraftTime(const DraftQuery& query, int bits,
                         const StepCostModel& costs) {
  StepRows step(query.others);
  for (RowCount rows : query.speculating) {
    rows.bits = bits;
    step.Add(rows);
  }
  return step.Time(costs);
}

absl::Duration VerifyTime(const DraftQuery& query, int tokens,
                          const StepCostModel& costs) {
  StepRows step(query.others);
  for (RowCount rows : query.speculating) {
    rows.rows *= tokens + 1;
    rows.context *= tokens + 1;
    step.Add(rows);
  }
  return step.Time(costs);
}

}  // namespace

void AcceptanceRates::Add(int bits, int drafted, int accepted) {
  ANYPREC_CHECK(accepted >= 0 && accepted <= drafted)
      << accepted << " of " << drafted;
  Evidence& evidence = evidence_.at(bits);
  evidence.accepted = kWindowDecay * evidence.accepted + accepted;
  evidence.rejected =
      kWindowDecay * evidence.rejected + (accepted < drafted ? 1 : 0);
}

void AcceptanceRates::Fade() {
  for (Evidence& evidence : evidence_) {
    evidence.accepted *= kStepDecay;
    evidence.rejected *= kStepDecay;
  }
}

double AcceptanceRates::At(int bits) const {
  const Evidence& evidence = evidence_.at(bits);
  return (evidence.accepted + kPriorAcceptance * kPriorTokens) /
         (evidence.accepted + evidence.rejected + kPriorTokens);
}

DraftWindow ChooseDraftWindow(const DraftQuery& query,
                              const AcceptanceRates& rates,
                              const StepCostModel& costs) {
  ANYPREC_CHECK(!query.speculating.empty()) << "nobody speculates";
  int below = query.speculating.front().bits;
  for (const RowCount& rows : query.speculating) {
    below = std::min(below, rows.bits);
  }
  DraftWindow best;
  absl::Duration best_time = absl::InfiniteDuration();
  if (query.least_tokens == 0) {
    best_time = PlainTime(query, costs) / kLeastGain;
  }
  std::vector<absl::Duration> verify;
  for (int tokens = 1; tokens <= query.most_tokens; ++tokens) {
    verify.push_back(VerifyTime(query, tokens, costs));
  }
  for (int bits = query.bits.min; bits <= query.bits.max; ++bits) {
    if (bits >= below) break;
    const absl::Duration draft = DraftTime(query, bits, costs);
    const double rate = rates.At(bits);
    double yield = 1;
    double chance = 1;  // that all drafts so far are accepted
    for (int tokens = 1; tokens <= query.most_tokens; ++tokens) {
      chance *= rate;
      yield += chance;
      if (tokens < query.least_tokens) continue;
      const absl::Duration time = (tokens * draft + verify[tokens - 1]) / yield;
      if (time < best_time) {
        best_time = time;
        best = {tokens, bits};
      }
    }
  }
  return best;
}

}  // namespace anyprec
