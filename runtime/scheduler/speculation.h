// Speculation: how many tokens to draft, and at how many bits, before one step
// verifies them all.
//
// Drafting at b bits costs a step each, at b bits; verifying g drafts one step
// of g + 1 rows at the precision asked for. With the chance a that a draft is
// accepted where those before it were, a window yields
// 1 + a + ... + a^g tokens in the mean (Leviathan et al. 2023, eq. 1). Whether
// that pays depends on the machine and on who else decodes, so it is predicted
// from measured step times.
#ifndef ANYPREC_RUNTIME_SCHEDULER_SPECULATION_H_
#define ANYPREC_RUNTIME_SCHEDULER_SPECULATION_H_

#include <array>
#include <span>
#include <tuple>
#include <vector>

#include "runtime/scheduler/request.h"
#include "runtime/scheduler/step_cost_model.h"

namespace anyprec {

// The chance a, by draft precision, from what was verified of late.
// Thread-compatible.
class AcceptanceRates {
 public:
  // Of `drafted` tokens the first `accepted` were right.
  void Add(int bits, int drafted, int accepted);

  // Once a step: evidence wears off, so that a precision that was given up is
  // tried again some hundred steps later.
  void Fade();

  // In (0, 1); optimistic where little is known.
  double At(int bits) const;

 private:
  struct Evidence {
    double accepted = 0;
    double rejected = 0;
  };
  std::array<Evidence, std::tuple_size_v<BitsHistogram>> evidence_ = {};
};

struct DraftWindow {
  int tokens = 0;  // 0: decode plainly
  int bits = 0;
};

struct DraftQuery {
  // Decode rows of the sequences that would speculate, and of all others, by
  // precision. REQUIRES: the first is not empty.
  std::vector<RowCount> speculating;
  std::vector<RowCount> others;
  // What to choose from, ends included; 0 tokens only where it is the least.
  int least_tokens = 0;
  int most_tokens = kMaxDraftTokens;
  BitsRange bits;
};

// The window with the least predicted time for each token; plain decoding where
// it is allowed and as fast, or where no precision in query.bits is below that
// of those who would speculate.
DraftWindow ChooseDraftWindow(const DraftQuery& query,
                              const AcceptanceRates& rates,
                              const StepCostModel& costs);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_SPECULATION_H_
