// anyprec.v1.AdminService: the operator's calls, each handed to what it steers.
//
// Until Start() every RPC is answered with UNAVAILABLE. Thread-safe.
#ifndef ANYPREC_SERVER_ADMIN_SERVICE_H_
#define ANYPREC_SERVER_ADMIN_SERVICE_H_

#include <atomic>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "anyprec/v1/admin_service.grpc.pb.h"
#include "runtime/engine/engine.h"
#include "runtime/scheduler/precision_policy.h"
#include "server/precision_governor.h"

namespace anyprec {

class AdminService final : public v1::AdminService::CallbackService {
 public:
  struct Serving {
    const Engine* engine = nullptr;         // this and the next outlive all
    PrecisionGovernor* governor = nullptr;  // calls
    PrecisionLimits loaded;                 // the model's range
    // Stops taking work and has the process end once what was accepted has
    // ended; returns at once. May be called more than once.
    std::function<void()> drain;
  };

  // REQUIRES: called once.
  void Start(Serving serving);

  grpc::ServerUnaryReactor* GetStats(grpc::CallbackServerContext* context,
                                     const v1::GetStatsRequest* request,
                                     v1::GetStatsResponse* response) override;
  grpc::ServerUnaryReactor* SetPrecisionLimits(
      grpc::CallbackServerContext* context,
      const v1::SetPrecisionLimitsRequest* request,
      v1::SetPrecisionLimitsResponse* response) override;
  grpc::ServerUnaryReactor* SetPowerBudget(
      grpc::CallbackServerContext* context,
      const v1::SetPowerBudgetRequest* request,
      v1::SetPowerBudgetResponse* response) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const v1::DrainRequest* request,
                                  v1::DrainResponse* response) override;

 private:
  // What the RPCs of these names do once the server is ready.
  absl::Status TrySetPrecisionLimits(
      const v1::SetPrecisionLimitsRequest& request,
      v1::SetPrecisionLimitsResponse& response);
  absl::Status TrySetPowerBudget(const v1::SetPowerBudgetRequest& request,
                                 v1::SetPowerBudgetResponse& response);

  // OK, or UNAVAILABLE.
  absl::Status Ready() const;

  std::unique_ptr<const Serving> serving_;  // set before ready_
  std::atomic<bool> ready_ = false;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_ADMIN_SERVICE_H_
