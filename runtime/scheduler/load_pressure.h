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
  double At(absl::Time now) const { return 1 + excess_ * Kept(raised_, now); }

  // A request was refused that could have been kept on an idle server.
  void AddRefused(absl::Time now) {
    const double requests = Add(now);
    excess_ = std::min(kMost - 1,
                       At(now) - 1 + std::min(kRaise, kRaiseOfAll / requests));
    raised_ = now;
  }

  void AddTaken(absl::Time now) { Add(now); }

  static constexpr double kMost = 4;

 private:
  static double Kept(absl::Time since, absl::Time now) {
    return std::exp(-absl::FDivDuration(
        std::max(now - since, absl::ZeroDuration()), kMemory));
  }

  // Counts a request; how many came of late.
  double Add(absl::Time now) {
    requests_ = requests_ * Kept(last_request_, now) + 1;
    last_request_ = now;
    return requests_;
  }

  // At r refusals a second the pressure is about 1 + kRaise * kMemory * r: one
  // in 30 seconds makes it 1.5, enough for two or three bits. Bursts come every
  // few seconds; the memory is longer, so that precision does not go up between
  // them.
  static constexpr double kRaise = 0.5;
  static constexpr absl::Duration kMemory = absl::Seconds(30);

  // Where requests come so fast that a few refused are a small part of them,
  // one raises it less: a hundredth refused makes it 2.2 at most.
  static constexpr double kRaiseOfAll = 120;

  double excess_ = 0;
  absl::Time raised_ = absl::InfinitePast();
  double requests_ = 0;  // weighted by their age
  absl::Time last_request_ = absl::InfinitePast();
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_LOAD_PRESSURE_H_
