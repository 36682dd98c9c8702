// The metrics of a run as JSON: what reports write and --require names.
//
// A metric's name is the path to it, its keys joined by dots: "goodput",
// "ttft_ms.p99", "classes.chat.goodput", "refusals.latency_ms.p99". README.md
// lists them. What was not measured (the TTFT of a run without answers) is
// null.
//
// Thread-safe: functions without state.
#ifndef ANYPREC_TESTS_LOAD_METRICS_H_
#define ANYPREC_TESTS_LOAD_METRICS_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "tests/load/request_class.h"
#include "tests/load/summary.h"

namespace anyprec::load {

// The names depend on `classes` alone, but for "reasons" and the precisions
// outside 3..8 in "tokens_by_bits".
nlohmann::json MetricsToJson(const Summary& summary,
                             const std::vector<RequestClass>& classes);

// Null gives nullopt. NOT_FOUND where there is no number of that name, saying
// which names the innermost group that exists has.
absl::StatusOr<std::optional<double>> FindMetric(const nlohmann::json& metrics,
                                                 absl::string_view name);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_METRICS_H_
