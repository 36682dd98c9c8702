// A run as it is reported, and the JSON file that holds several.
//
//   {"format": "anyprec-loadtest 1",
//    "runs": [{"label": "slo 1.5x",
//              "settings": {"target": ..., "rate": ...},
//              "metrics": {...},                              // metrics.h
//              "timeline": {"window_s": 1, "warm_up_s": 5, "end_s": 65,
//                           "planned": [...], ..., "ttft_p50_ms": [..., null],
//                           "tokens_by_bits": {"3": [...], ...}}}],
//    "highest_rates": [{"goodput": 0.9, "rate_rps": 12.5}]}   // where searched
//
// Files are read back to compare runs of different servers or policies.
//
// Thread-safe: values and functions without state.
#ifndef ANYPREC_TESTS_LOAD_RUN_REPORT_H_
#define ANYPREC_TESTS_LOAD_RUN_REPORT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "tests/load/timeline.h"

namespace anyprec::load {

struct RunReport {
  std::string label;
  nlohmann::json settings = nlohmann::json::object();  // names to plain values
  nlohmann::json metrics = nlohmann::json::object();
  Timeline timeline;
};

// The file's object; `highest_rates` is left out where null.
nlohmann::json ReportsToJson(const std::vector<RunReport>& runs,
                             const nlohmann::json& highest_rates);

// INVALID_ARGUMENT names `source`, the run and what is wrong with it.
absl::StatusOr<std::vector<RunReport>> ReportsFromJson(
    absl::string_view json, absl::string_view source);

// Reads a file of at most 256 MB.
absl::StatusOr<std::vector<RunReport>> ReadReports(const std::string& path);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_RUN_REPORT_H_
