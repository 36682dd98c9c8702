#include "server/precision_governor.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

std::unique_ptr<PowerMeter> MeterOrNull(
    absl::StatusOr<std::unique_ptr<PowerMeter>>& meter) {
  return meter.ok() ? *std::move(meter) : nullptr;
}

}  // namespace

PrecisionGovernor::PrecisionGovernor(
    Engine& engine, const PrecisionLimits& loaded,
    absl::StatusOr<std::unique_ptr<PowerMeter>> meter)
    : engine_(engine),
      loaded_(loaded),
      meter_(MeterOrNull(meter)),
      meter_status_(meter.status()),
      limits_(loaded) {}

absl::Status PrecisionGovernor::Apply() {
  PrecisionLimits in_force = limits_;
  if (controller_.has_value()) {
    in_force.max_bits = std::min(in_force.max_bits, controller_->cap());
  }
  return engine_.SetPrecisionLimits(in_force);
}

absl::Status PrecisionGovernor::SetLimits(const PrecisionLimits& limits) {
  if (limits.min_bits < loaded_.min_bits ||
      limits.max_bits > loaded_.max_bits || limits.min_bits > limits.max_bits) {
    return absl::InvalidArgumentError(
        absl::StrCat("precision limits: [", limits.min_bits, ", ",
                     limits.max_bits, "], needs a range within [",
                     loaded_.min_bits, ", ", loaded_.max_bits, "]"));
  }
  absl::MutexLock lock(&mutex_);
  limits_ = limits;
  if (controller_.has_value()) controller_->SetRange(limits);
  spdlog::info("precision limits: {} to {} bits", limits.min_bits,
               limits.max_bits);
  return Apply();
}

absl::Status PrecisionGovernor::SetBudget(std::optional<double> watts) {
  absl::MutexLock lock(&mutex_);
  if (!watts.has_value()) {
    controller_.reset();
    spdlog::info("power budget: none");
    return Apply();
  }
  if (!meter_status_.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the power cannot be measured: ", meter_status_.message()));
  }
  // A new budget starts from the cap that the old one has found.
  const std::optional<PowerController> old = controller_;
  controller_.emplace(*watts, limits_);
  if (old.has_value()) {
    controller_->SetRange({limits_.min_bits, old->cap()});
    controller_->SetRange(limits_);
  }
  spdlog::info("power budget: {} W", *watts);
  return Apply();
}

void PrecisionGovernor::Tick() {
  if (meter_ == nullptr) return;
  // Without the lock: a driver may take its time.
  const absl::StatusOr<double> watts = meter_->Watts();
  absl::MutexLock lock(&mutex_);
  if (watts.ok() != meter_status_.ok()) {
    spdlog::warn("power: {}",
                 watts.ok() ? "can be read again" : watts.status().ToString());
  }
  meter_status_ = watts.status();
  watts_.reset();
  // A cap that cannot be judged stays.
  if (!watts.ok()) return;
  watts_ = *watts;
  if (!controller_.has_value()) return;
  const int old_cap = controller_->cap();
  const int cap = controller_->Next(*watts);
  if (cap == old_cap) return;
  spdlog::info("power: {:.1f} W of {} W; at most {} bits", *watts,
               controller_->budget_watts(), cap);
  if (const absl::Status status = Apply(); !status.ok()) {
    spdlog::error("power: {}", status.ToString());
  }
}

PrecisionGovernor::State PrecisionGovernor::state() const {
  absl::MutexLock lock(&mutex_);
  State state;
  state.operator_limits = limits_;
  state.watts = watts_;
  state.meter = meter_status_.ok() ? meter_->name()
                                   : std::string(meter_status_.message());
  if (controller_.has_value()) {
    state.budget_watts = controller_->budget_watts();
    state.cap_bits = controller_->cap();
  }
  return state;
}

}  // namespace anyprec
