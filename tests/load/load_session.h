// A whole test: reads its inputs, plans and runs it once, at several rates, or
// in search of the highest rate, and reports. Knows no gRPC.
//
// Thread-compatible.
#ifndef ANYPREC_TESTS_LOAD_LOAD_SESSION_H_
#define ANYPREC_TESTS_LOAD_LOAD_SESSION_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tests/load/load_driver.h"
#include "tests/load/options.h"
#include "tests/load/request_class.h"
#include "tests/load/run_report.h"
#include "tests/load/summary.h"
#include "tests/load/trace.h"

namespace anyprec::load {

struct SessionInputs {
  std::vector<RequestClass> classes;
  std::vector<TraceEntry> trace;  // scaled by the options; empty without one
};

// Reads the files that `options` name. Errors are those of the readers.
absl::StatusOr<SessionInputs> ReadInputs(const LoadTestOptions& options);

struct SessionResult {
  std::vector<RunReport> runs;
  nlohmann::json highest_rates;  // of a search; else null
  std::string csv;               // a line for each request of each run
};

class LoadSession {
 public:
  // `options` and `driver` must outlive this. REQUIRES: the driver was made
  // with the inputs' classes.
  LoadSession(const LoadTestOptions& options, SessionInputs inputs,
              LoadDriver& driver);

  // INVALID_ARGUMENT where options and inputs do not go together,
  // FAILED_PRECONDITION where a search measures nothing.
  absl::StatusOr<SessionResult> Run();

 private:
  struct Plan {
    std::vector<PlannedRequest> requests;
    absl::Duration end;  // of the arrivals
  };

  RequestPlanner NewPlanner() const;
  absl::StatusOr<Plan> PlanTrace(std::optional<double> rate,
                                 RequestPlanner& planner) const;
  absl::StatusOr<Plan> PlanArrivalProcess(double rate,
                                          RequestPlanner& planner) const;
  absl::Status RunConcurrency();
  // `rate` absent: the trace's own.
  absl::Status RunRate(std::optional<double> rate, const std::string& label);
  absl::Status RunSweep();
  absl::Status RunSearch();
  absl::Status CheckWarmUp(absl::Duration end) const;
  nlohmann::json Settings() const;
  void Report(const std::string& label, const nlohmann::json& settings,
              const std::vector<RequestRecord>& records, absl::Duration end);
  std::string Label(const std::string& more) const;

  const LoadTestOptions& options_;
  const SessionInputs inputs_;
  LoadDriver& driver_;
  SessionResult result_;
};

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_LOAD_SESSION_H_
