// What the engine counts, as Prometheus' metric families.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_ENGINE_METRICS_H_
#define ANYPREC_SERVER_ENGINE_METRICS_H_

#include <prometheus/metric_family.h>

#include <vector>

#include "runtime/engine/engine_stats.h"
#include "runtime/scheduler/precision_policy.h"

namespace anyprec {

// Counts by bits have a value for each precision in `loaded`, zero or not, as a
// rate needs to see a counter before it first moves.
std::vector<prometheus::MetricFamily> EngineMetrics(
    const EngineStats& stats, const PrecisionLimits& loaded);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_ENGINE_METRICS_H_
