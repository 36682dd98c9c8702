// PowerController: how many bits a power budget leaves.
//
// Fewer bits are fewer bytes per token, and on the whole less power; by how
// much depends on machine and load, so nothing is predicted. The cap goes down
// a bit where the power was above the budget, and up a bit where it was well
// below for a while. A bit's worth of power may be more than the gap between
// the two, and the cap then go to and fro: each raise that had to be taken back
// doubles the time until the next.
//
// Where not even the lowest precision keeps the budget the cap stays there.
//
// Knows no clock: a function of the calls made. Thread-compatible.
#ifndef ANYPREC_SERVER_POWER_CONTROLLER_H_
#define ANYPREC_SERVER_POWER_CONTROLLER_H_

#include "runtime/scheduler/precision_policy.h"

namespace anyprec {

class PowerController {
 public:
  // The cap starts at range.max_bits. REQUIRES: budget_watts > 0,
  // range.min_bits <= range.max_bits.
  PowerController(double budget_watts, const PrecisionLimits& range);

  // Takes one measurement, each over about the same time; returns the new cap.
  int Next(double watts);

  // In range.
  int cap() const { return cap_; }
  double budget_watts() const { return budget_watts_; }

  // Moves the cap into `range`, no further.
  void SetRange(const PrecisionLimits& range);

  // The first measurement after a change of the cap holds some of the time
  // before it, so one alone decides nothing.
  static constexpr int kLowerAfter = 2;
  // Of the budget; power below it leaves room for a bit more.
  static constexpr double kRaiseBelow = 0.9;
  // Long enough for a pause between two bursts of requests.
  static constexpr int kRaiseAfter = 5;
  // At one measurement a second, one try in five minutes.
  static constexpr int kMaxRaiseAfter = 320;

 private:
  void Move(int bits);

  double budget_watts_;
  PrecisionLimits range_;
  int cap_;
  int above_ = 0;  // measurements in a row
  int below_ = 0;
  int raise_after_ = kRaiseAfter;
  int last_move_ = 0;  // +1, -1; 0 before the first
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_POWER_CONTROLLER_H_
