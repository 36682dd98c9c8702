// LoadPressure: by how much requests should be served faster than they ask for,
// as others are refused meanwhile.
//
// Deadlines alone do not show an overload: what is refused presses nobody. Each
// request that is refused for want of time raises the pressure, which wears off
// within a minute or two. Where precision can make room, it settles where few
// are refused; where it cannot, at its most, and admission then prefers what
// takes little.
//
// Thread-compatible.
#ifndef ANYPREC_RUNTIME_SCHEDULER_LOAD_PRESSURE_H_
#define ANYPREC_RUNTIME_SCHEDULER_LOAD_PRESSURE_H_

#include <algorithm>
#include <cmath>

#include "absl/time/time.h"

namespace anyprec {

class LoadPressure {
 public:
  // Predicted times count as so many times as long; 1 where there is none.
  double At(absl::Time now) const {
    return 1 + excess_ *
                   std::exp(-absl::FDivDuration(
                       std::max(now - raised_, absl::ZeroDuration()), kMemory));
  }

  void Raise(absl::Time now) {
    excess_ = std::min(kMost - 1, At(now) - 1 + kRaise);
    raised_ = now;
  }

  static constexpr double kMost = 4;

 private:
  // At r refusals a second the pressure is about 1 + kRaise * kMemory * r: one
  // in 30 seconds makes it 1.5, enough for two or three bits. Bursts come every
  // few seconds; the memory is longer, so that precision does not go up between
  // them.
  static constexpr double kRaise = 0.5;
  static constexpr absl::Duration kMemory = absl::Seconds(30);

  double excess_ = 0;
  absl::Time raised_ = absl::InfinitePast();
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_LOAD_PRESSURE_H_
