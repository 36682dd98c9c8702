#include "server/power_controller.h"

#include <algorithm>

#include "kernels/check.h"

namespace anyprec {

PowerController::PowerController(double budget_watts,
                                 const PrecisionLimits& range)
    : budget_watts_(budget_watts), range_(range), cap_(range.max_bits) {
  ANYPREC_CHECK(budget_watts > 0 && range.min_bits <= range.max_bits);
}

int PowerController::Next(double watts) {
  above_ = watts > budget_watts_ ? above_ + 1 : 0;
  below_ = watts < kRaiseBelow * budget_watts_ ? below_ + 1 : 0;
  if (above_ >= kLowerAfter && cap_ > range_.min_bits) {
    if (last_move_ > 0) {  // A raise is taken back.
      raise_after_ = std::min(2 * raise_after_, kMaxRaiseAfter);
    }
    Move(-1);
  } else if (below_ >= raise_after_ && cap_ < range_.max_bits) {
    if (last_move_ > 0) raise_after_ = kRaiseAfter;  // The last one stayed.
    Move(+1);
  }
  return cap_;
}

void PowerController::Move(int bits) {
  cap_ += bits;
  last_move_ = bits;
  above_ = 0;
  below_ = 0;
}

void PowerController::SetRange(const PrecisionLimits& range) {
  ANYPREC_CHECK(range.min_bits <= range.max_bits);
  range_ = range;
  cap_ = std::clamp(cap_, range.min_bits, range.max_bits);
}

}  // namespace anyprec
