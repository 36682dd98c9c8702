#include "server/admin_service.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "server/field_violations.h"
#include "server/stats_conversion.h"
#include "server/status_conversion.h"

namespace anyprec {
namespace {

// Far above any machine; what is meant as milliwatts is refused.
constexpr double kMaxWatts = 1e6;

grpc::ServerUnaryReactor* FinishUnary(grpc::CallbackServerContext* context,
                                      const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

std::string OutOfRange(int value, int low, int high) {
  return absl::StrCat("is ", value, "; must be in [", low, ", ", high, "]");
}

}  // namespace

void AdminService::Start(Serving serving) {
  ANYPREC_CHECK(!ready_) << "started twice";
  serving_ = std::make_unique<const Serving>(std::move(serving));
  ready_ = true;
}

absl::Status AdminService::Ready() const {
  if (ready_) return absl::OkStatus();
  return absl::UnavailableError("the server is loading its model");
}

absl::Status AdminService::TrySetPrecisionLimits(
    const v1::SetPrecisionLimitsRequest& request,
    v1::SetPrecisionLimitsResponse& response) {
  RETURN_IF_ERROR(Ready());
  PrecisionLimits limits = serving_->loaded;
  const auto [low, high] = serving_->loaded;
  if (request.has_min_bits()) limits.min_bits = request.min_bits();
  if (request.has_max_bits()) limits.max_bits = request.max_bits();
  FieldViolations violations;
  if (limits.min_bits < low || limits.min_bits > high) {
    violations.Add("min_bits", OutOfRange(limits.min_bits, low, high));
  } else if (limits.max_bits < limits.min_bits || limits.max_bits > high) {
    violations.Add("max_bits",
                   OutOfRange(limits.max_bits, limits.min_bits, high));
  }
  RETURN_IF_ERROR(violations.ToStatus());
  RETURN_IF_ERROR(serving_->governor->SetLimits(limits));
  *response.mutable_limits_in_force() =
      ToLimits(serving_->engine->Stats().precision_limits);
  return absl::OkStatus();
}

absl::Status AdminService::TrySetPowerBudget(
    const v1::SetPowerBudgetRequest& request,
    v1::SetPowerBudgetResponse& response) {
  RETURN_IF_ERROR(Ready());
  std::optional<double> watts;
  if (request.has_watts()) {
    watts = request.watts();
    if (!(*watts > 0 && *watts <= kMaxWatts)) {  // NaN is neither.
      FieldViolations violations;
      violations.Add("watts", absl::StrCat("is ", *watts, "; must be in (0, ",
                                           kMaxWatts, "]"));
      return violations.ToStatus();
    }
  }
  RETURN_IF_ERROR(serving_->governor->SetBudget(watts));
  *response.mutable_power() = ToPowerState(serving_->governor->state());
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdminService::GetStats(
    grpc::CallbackServerContext* context, const v1::GetStatsRequest*,
    v1::GetStatsResponse* response) {
  const absl::Status status = Ready();
  if (status.ok()) {
    *response =
        ToStatsResponse(serving_->engine->Stats(), serving_->governor->state());
  }
  return FinishUnary(context, status);
}

grpc::ServerUnaryReactor* AdminService::SetPrecisionLimits(
    grpc::CallbackServerContext* context,
    const v1::SetPrecisionLimitsRequest* request,
    v1::SetPrecisionLimitsResponse* response) {
  return FinishUnary(context, TrySetPrecisionLimits(*request, *response));
}

grpc::ServerUnaryReactor* AdminService::SetPowerBudget(
    grpc::CallbackServerContext* context,
    const v1::SetPowerBudgetRequest* request,
    v1::SetPowerBudgetResponse* response) {
  return FinishUnary(context, TrySetPowerBudget(*request, *response));
}

grpc::ServerUnaryReactor* AdminService::Drain(
    grpc::CallbackServerContext* context, const v1::DrainRequest*,
    v1::DrainResponse* response) {
  const absl::Status status = Ready();
  if (status.ok()) {
    serving_->drain();
    const EngineStats stats = serving_->engine->Stats();
    response->set_running_requests(stats.running);
    response->set_waiting_requests(stats.waiting);
  }
  return FinishUnary(context, status);
}

}  // namespace anyprec
