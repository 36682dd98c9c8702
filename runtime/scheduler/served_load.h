// ServedLoad: what the engine was busy with of late, and so what to expect.
#ifndef ANYPREC_RUNTIME_SCHEDULER_SERVED_LOAD_H_
#define ANYPREC_RUNTIME_SCHEDULER_SERVED_LOAD_H_

#include <algorithm>
#include <cmath>

#include "absl/time/time.h"

namespace anyprec {

struct ServedLoad {
  double tokens_per_second = 0;  // of answers that ended
  double prompt_share = 0;       // of the time, spent on prompts
};

// Exponential averages. Thread-compatible.
class ServedLoadMeter {
 public:
  // A step that ended at `now`.
  void AddStep(absl::Duration prompt_time, absl::Time now) {
    const double left = Left(now);
    tokens_ *= left;
    prompt_time_ = left * prompt_time_ + prompt_time;
    updated_ = std::max(updated_, now);
  }

  // An answer that ended after the last step. Those that run are no sign of
  // others to come.
  void AddAnswer(int tokens) { tokens_ += tokens; }

  ServedLoad At(absl::Time now) const {
    const double left = Left(now);
    return {left * tokens_ / absl::ToDoubleSeconds(kMemory),
            left * absl::FDivDuration(prompt_time_, kMemory)};
  }

 private:
  // A few times as long as an answer takes, so that single requests hardly
  // move it; shorter than a load takes to build up.
  static constexpr absl::Duration kMemory = absl::Seconds(10);

  double Left(absl::Time now) const {
    return std::exp(-absl::FDivDuration(
        std::max(absl::ZeroDuration(), now - updated_), kMemory));
  }

  double tokens_ = 0;
  absl::Duration prompt_time_;
  absl::Time updated_ = absl::InfinitePast();
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_SERVED_LOAD_H_
