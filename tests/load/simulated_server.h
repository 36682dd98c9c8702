// SimulatedServer: the real scheduler, precision policy and admission control
// in virtual time, without a model. A step takes what a cost table says.
//
// What it leaves out: gRPC, tokenizing, sampling, noise of the machine, and
// answers that end before their length. The scheduler predicts from the same
// table, so its predictions are right but for what the table cannot say.
//
// One replica of a fleet: where N of them share a load evenly, each gets an Nth
// of its rate.
//
// Thread-compatible, but for progress().
#ifndef ANYPREC_TESTS_LOAD_SIMULATED_SERVER_H_
#define ANYPREC_TESTS_LOAD_SIMULATED_SERVER_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/scheduler/precision_policy.h"
#include "runtime/scheduler/step_cost_table.h"
#include "tests/load/load_driver.h"
#include "tests/load/request_class.h"

namespace anyprec::load {

struct SimulationOptions {
  StepCostTable table;
  PrecisionPolicy policy;
  // As the server's flags of these names.
  int max_sequences = 64;
  int max_queued_requests = 1024;
  int prefill_chunk = 512;
  int max_context = 8192;
  absl::Duration max_queue_time = absl::Seconds(60);
  // A request arrives this long after it was sent, and its tokens this long
  // after they were made.
  absl::Duration network = absl::Milliseconds(1);
};

// INVALID_ARGUMENT where the policy's precision is none of the table's, with
// which a server would not start either.
absl::StatusOr<std::unique_ptr<LoadDriver>> NewSimulatedServer(
    const SimulationOptions& options, std::vector<RequestClass> classes);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_SIMULATED_SERVER_H_
