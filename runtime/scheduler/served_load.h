// ServedLoad: what the engine was busy with of late, and so what to expect.
#ifndef ANYPREC_RUNTIME_SCHEDULER_SERVED_LOAD_H_
#define ANYPREC_RUNTIME_SCHEDULER_SERVED_LOAD_H_

#include <algorithm>
#include <cmath>

#include "absl/time/time.h"

namespace anyprec {

struct ServedLoad {
  double tokens_per_second = 0;  // of answers that ended
  double prompt_rows_per_second = 0;
  double prompt_share = 0;  // of the time, spent on prompts
};

// The larger of two exponential averages: one that feels a burst within
// seconds, one that does not forget it in the next lull. Thread-compatible.
class ServedLoadMeter {
 public:
  // A step that ended at `now`, and what of it were prompts.
  void AddStep(int prompt_rows, absl::Duration prompt_time, absl::Time now) {
    short_.AddStep(prompt_rows, prompt_time, now);
    long_.AddStep(prompt_rows, prompt_time, now);
  }

  // An answer that ended after the last step. Those that run are no sign of
  // others to come.
  void AddAnswer(int tokens) {
    short_.AddAnswer(tokens);
    long_.AddAnswer(tokens);
  }

  ServedLoad At(absl::Time now) const {
    const ServedLoad a = short_.At(now);
    const ServedLoad b = long_.At(now);
    return {std::max(a.tokens_per_second, b.tokens_per_second),
            std::max(a.prompt_rows_per_second, b.prompt_rows_per_second),
            std::max(a.prompt_share, b.prompt_share)};
  }

 private:
  class Average {
   public:
    explicit Average(absl::Duration memory) : memory_(memory) {}

    void AddStep(int prompt_rows, absl::Duration prompt_time, absl::Time now) {
      const double left = Left(now);
      tokens_ *= left;
      prompt_rows_ = left * prompt_rows_ + prompt_rows;
      prompt_time_ = left * prompt_time_ + prompt_time;
      updated_ = std::max(updated_, now);
    }
    void AddAnswer(int tokens) { tokens_ += tokens; }
    ServedLoad At(absl::Time now) const {
      const double left = Left(now);
      return {left * tokens_ / absl::ToDoubleSeconds(memory_),
              left * prompt_rows_ / absl::ToDoubleSeconds(memory_),
              left * absl::FDivDuration(prompt_time_, memory_)};
    }

   private:
    double Left(absl::Time now) const {
      return std::exp(-absl::FDivDuration(
          std::max(absl::ZeroDuration(), now - updated_), memory_));
    }

    const absl::Duration memory_;
    double tokens_ = 0;
    double prompt_rows_ = 0;
    absl::Duration prompt_time_;
    absl::Time updated_ = absl::InfinitePast();
  };

  Average short_ = Average(absl::Seconds(2));
  Average long_ = Average(absl::Seconds(10));
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_SERVED_LOAD_H_
