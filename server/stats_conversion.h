// The state of engine and governor as API messages.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_STATS_CONVERSION_H_
#define ANYPREC_SERVER_STATS_CONVERSION_H_

#include "anyprec/v1/admin_service.pb.h"
#include "anyprec/v1/model.pb.h"
#include "runtime/engine/engine_stats.h"
#include "runtime/scheduler/precision_policy.h"
#include "server/precision_governor.h"

namespace anyprec {

// With this process's memory.
v1::ServerState ToServerState(const EngineStats& stats);

v1::PrecisionLimits ToLimits(const PrecisionLimits& limits);

v1::PowerState ToPowerState(const PrecisionGovernor::State& state);

v1::GetStatsResponse ToStatsResponse(const EngineStats& stats,
                                     const PrecisionGovernor::State& state);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_STATS_CONVERSION_H_
