// StepCostModel: how long a step takes, as measured on this machine.
//
// For each phase and precision it holds the time of a step of m rows at a few
// values of m, linear in between, beyond them as the nearest precision has it
// that was measured there; and for each phase the time that every token
// in the KV cache adds, which no precision changes; a step of several groups
// takes the sum of their times, less what they share. Which precision is faster
// depends on the machine and the batch, so a formula from bits stands in only
// until a measurement replaces it. A sweep at start fills the table (Measure),
// running steps correct it (Observe).
//
// A prediction is measurement x residual x drift:
//   - the drift, one for each phase, follows what slows or speeds up every
//     precision alike: a neighbour on the cores, contexts longer than the
//     sweep's. Any step moves the predictions of all precisions, so that one
//     which runs no more is not held to what it took in a worse hour;
//   - a residual, one for each measurement, follows what only that one got
//     wrong. It moves slowly, and falls back to 1 while other steps run, so
//     that a precision that was given up is tried again.
//
// Knows no clock: a function of the calls made. Thread-compatible.
#ifndef ANYPREC_RUNTIME_SCHEDULER_STEP_COST_MODEL_H_
#define ANYPREC_RUNTIME_SCHEDULER_STEP_COST_MODEL_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "kernels/backend.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

// Rows of a step that share phase and precision.
struct RowCount {
  Phase phase = Phase::kDecode;
  int bits = 0;  // an index of BitsHistogram, not 0
  int rows = 0;
  // Tokens that stood in the KV cache before, summed over the rows.
  int64_t context = 0;
};

// One measurement and what the model makes of it by now.
struct StepCostPoint {
  Phase phase = Phase::kDecode;
  int bits = 0;
  int rows = 0;
  absl::Duration measured;
  absl::Duration predicted;
};

class StepCostModel {
 public:
  // Sets the time of a step of `work` alone, which Predict(work) then gives;
  // replaces an earlier one. REQUIRES: work.rows > 0.
  void Measure(const RowCount& work, absl::Duration time);

  // Sets what each token of RowCount::context adds.
  void MeasureContext(Phase phase, absl::Duration per_token);
  absl::Duration ContextTime(Phase phase) const {
    return absl::Seconds(Of(phase).seconds_per_context_token);
  }

  // Sets what a step of two groups saves against two steps: the output layer,
  // read once, and what else a step costs whatever its rows.
  void MeasureShared(absl::Duration time);
  absl::Duration SharedTime() const { return absl::Seconds(shared_seconds_); }

  // All measurements: decode first, ascending bits and rows.
  std::vector<StepCostPoint> Points() const;

  // Zero where no precision of the phase was measured. A precision that was
  // not measured lies on the line between the nearest ones below and above that
  // were; beyond the last of them a step takes time in proportion to its bits.
  absl::Duration Predict(const RowCount& work) const;
  absl::Duration Predict(std::span<const RowCount> step) const;

  // Learns from a step that took `time`.
  //
  // A step of one group that has no measurement within a factor of two of its
  // rows becomes a measurement, and the next such step may lower it: the lesser
  // of two runs, as in the sweep. Any other step moves drift and residuals by
  // each group's share of the prediction, as an exponential average over about
  // ten steps; an outlier counts as at most kMaxRatio times too slow or too
  // fast. A mixed step of which a part cannot be predicted teaches nothing.
  // REQUIRES: every group has rows.
  void Observe(std::span<const RowCount> step, absl::Duration time);

  // Forgets what Observe() learned of how fast the machine is just now, and
  // points that a single step told. For when nothing has run for a while: else
  // a server could refuse for good what only another step would show to be
  // possible.
  void ForgetRecent();

  static constexpr double kMaxRatio = 4.0;

 private:
  struct Point {
    int rows = 0;
    double seconds = 0;
    double residual = 1;
    bool ran_once = false;  // learned from a single step so far
  };
  using Curve = std::vector<Point>;  // ascending rows
  using Curves = std::array<Curve, std::tuple_size_v<BitsHistogram>>;
  struct PhaseCosts {
    Curves curves;  // by bits
    double seconds_per_context_token = 0;
    double drift = 1;
  };

  static double Interpolate(const Curve& curve, int rows);
  static double MeasuredSeconds(const Curves& curves, int bits, int rows);
  static double SecondsBeforeDrift(const Curves& curves, int bits, int rows);
  static void MoveResiduals(Curve& curve, int rows, double amount);
  bool Learn(const RowCount& work, absl::Duration time);
  void Insert(const RowCount& work, absl::Duration time, bool ran_once);

  const PhaseCosts& Of(Phase phase) const {
    return phase == Phase::kDecode ? decode_ : prefill_;
  }
  PhaseCosts& Of(Phase phase) {
    return phase == Phase::kDecode ? decode_ : prefill_;
  }

  PhaseCosts decode_;
  PhaseCosts prefill_;
  double shared_seconds_ = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_STEP_COST_MODEL_H_
