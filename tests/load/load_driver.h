// What a plan can be run against: a server, or a simulation of one.
#ifndef ANYPREC_TESTS_LOAD_LOAD_DRIVER_H_
#define ANYPREC_TESTS_LOAD_LOAD_DRIVER_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/load/record.h"
#include "tests/load/request_class.h"
#include "tests/load/workload.h"

namespace anyprec::load {

// What answers.
struct TargetModel {
  std::string name;
  std::string backend;
  std::string version;
  int vocab_size = 0;
  int max_context_tokens = 0;
  std::vector<int> bits;  // precisions that can be asked for, ascending
};

// INVALID_ARGUMENT where a class asks for a precision that the model has not:
// every request of it would be an error.
absl::Status CheckPrecisions(const std::vector<RequestClass>& classes,
                             const TargetModel& model);

// Since the run began.
struct LoadProgress {
  absl::Duration elapsed;
  int64_t sent = 0;
  int64_t in_flight = 0;
  int64_t answered = 0;
  int64_t refused = 0;
  int64_t failed = 0;  // lost, expired or in error
  int64_t cancelled = 0;
  int64_t tokens = 0;
  int64_t token_bits = 0;  // summed over the tokens
};

class LoadDriver {
 public:
  virtual ~LoadDriver() = default;

  virtual const TargetModel& model() const = 0;

  // Open loop: sends each request at its time, whatever became of those before,
  // and returns one record for each, in order, when all have an outcome or the
  // driver's patience is over. REQUIRES: `plan` is ascending in time; class
  // indices are those of the driver's classes.
  virtual std::vector<RequestRecord> Replay(
      std::span<const PlannedRequest> plan) = 0;

  // Closed loop: keeps `concurrency` requests going for `duration`, and then
  // returns as above. A request's planned arrival is the time at which its
  // place became free.
  virtual std::vector<RequestRecord> KeepBusy(int concurrency,
                                              absl::Duration duration,
                                              RequestPlanner& planner) = 0;

  // Of the run that is going on. Thread-safe, unlike the others.
  virtual LoadProgress progress() const = 0;
};

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_LOAD_DRIVER_H_
