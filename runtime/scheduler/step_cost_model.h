// StepCostModel: how long a step takes, as measured on this machine.
//
// For each phase and precision it holds the time of a step of m rows at a few
// values of m, linear in between; a step of several groups takes the sum of
// their times. Never a formula from bits alone: which precision is faster
// depends on the machine and the batch. A sweep at start fills the table
// (Measure), running steps correct it (Observe).
//
// Thread-compatible.
#ifndef ANYPREC_RUNTIME_SCHEDULER_STEP_COST_MODEL_H_
#define ANYPREC_RUNTIME_SCHEDULER_STEP_COST_MODEL_H_

#include <array>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "kernels/backend.h"
#include "runtime/engine/request.h"

namespace anyprec {

// Rows of a step that share phase and precision.
struct RowCount {
  Phase phase = Phase::kDecode;
  int bits = 0;
  int rows = 0;
};

class StepCostModel {
 public:
  // Sets the time of a step of `work` alone; replaces an earlier one.
  // REQUIRES: work.rows > 0, work.bits an index of BitsHistogram.
  void Measure(const RowCount& work, absl::Duration time);

  // Zero where nothing was measured. A precision that was not measured takes
  // the times of the nearest one that was.
  absl::Duration Predict(const RowCount& work) const;
  absl::Duration Predict(std::span<const RowCount> step) const;

  // Moves the table towards a step that took `time`: each of its groups by its
  // share of the prediction, as an exponential average over about ten steps.
  // An outlier counts as at most kMaxRatio times too slow or too fast.
  void Observe(std::span<const RowCount> step, absl::Duration time);

  static constexpr double kMaxRatio = 4.0;

 private:
  struct Point {
    int rows = 0;
    double seconds = 0;
  };
  using Curve = std::vector<Point>;  // ascending rows
  using Curves = std::array<Curve, std::tuple_size_v<BitsHistogram>>;

  // The measured precision nearest to `bits`; -1 where there is none.
  int NearestMeasured(Phase phase, int bits) const;
  const Curves& CurvesOf(Phase phase) const {
    return phase == Phase::kDecode ? decode_ : prefill_;
  }

  Curves decode_;
  Curves prefill_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_STEP_COST_MODEL_H_
