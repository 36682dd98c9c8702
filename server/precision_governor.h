// PrecisionGovernor: which precisions automatic requests may take, by the
// operator's limits and the power budget together.
//
// 1. In force is what the operator set, with its upper end lowered to the cap
//    that the budget leaves; without a budget there is no cap.
// 2. The cap stays within the operator's limits: a budget lowers no floor.
//
// Thread-safe, but for Tick(): from one thread at a time.
#ifndef ANYPREC_SERVER_PRECISION_GOVERNOR_H_
#define ANYPREC_SERVER_PRECISION_GOVERNOR_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "runtime/engine/engine.h"
#include "runtime/scheduler/precision_policy.h"
#include "server/power_controller.h"
#include "server/power_meter.h"

namespace anyprec {

class PrecisionGovernor {
 public:
  // `loaded` is the range of the engine's model; `engine` must outlive this
  // object. `meter` may be the reason why there is none: limits work then,
  // budgets do not.
  PrecisionGovernor(Engine& engine, const PrecisionLimits& loaded,
                    absl::StatusOr<std::unique_ptr<PowerMeter>> meter);

  // INVALID_ARGUMENT where that is no range within the loaded one.
  absl::Status SetLimits(const PrecisionLimits& limits);

  // nullopt removes the budget and restores the operator's limits.
  // FAILED_PRECONDITION where the power cannot be measured.
  // REQUIRES: watts > 0.
  absl::Status SetBudget(std::optional<double> watts);

  // Measures the power and moves the cap; to be called every kTick.
  void Tick();

  struct State {
    PrecisionLimits operator_limits;
    std::optional<double> watts;  // absent before the first Tick() too
    std::string meter;            // its name, or why it cannot be read
    std::optional<double> budget_watts;
    std::optional<int> cap_bits;  // with a budget
  };
  State state() const;

  // Long beside a step, so that a measurement averages over many; short beside
  // the minutes over which power is billed and heat spreads.
  static constexpr absl::Duration kTick = absl::Seconds(1);

 private:
  // Tells the engine what is in force.
  absl::Status Apply() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Engine& engine_;
  const PrecisionLimits loaded_;
  const std::unique_ptr<PowerMeter> meter_;  // null: there is none

  mutable absl::Mutex mutex_;
  absl::Status meter_status_ ABSL_GUARDED_BY(mutex_);  // of the last reading
  std::optional<double> watts_ ABSL_GUARDED_BY(mutex_);
  PrecisionLimits limits_ ABSL_GUARDED_BY(mutex_);  // the operator's
  std::optional<PowerController> controller_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_PRECISION_GOVERNOR_H_
