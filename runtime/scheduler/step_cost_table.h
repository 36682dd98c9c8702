// Step times of a machine, as a file holds them: measured once, read by the
// next server that runs the same model there, and by the simulator.
//
//   {"name": "7B on one H200",       // what it is, and who measured it
//    "kv_tokens": 200000,            // that the KV cache holds
//    "context_us": {"decode": 0.02, "prefill": 0.004},  // of a cached token
//    "shared_ms": 1.5,               // that the groups of a step share
//    "steps": [{"phase": "decode", "bits": 4, "rows": 1, "ms": 2.2}, ...]}
//
// A step's time is above 0, which StepCostModel takes for one that it does not
// know; the others may be 0. Between rows and bits StepCostModel interpolates.
//
// Thread-safe: values and functions without state.
#ifndef ANYPREC_RUNTIME_SCHEDULER_STEP_COST_TABLE_H_
#define ANYPREC_RUNTIME_SCHEDULER_STEP_COST_TABLE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/scheduler/step_cost_model.h"

namespace anyprec {

struct StepCostTable {
  std::string name;
  int kv_tokens = 0;
  int min_bits = 0;  // of the steps
  int max_bits = 0;
  StepCostModel costs;
};

// INVALID_ARGUMENT names `source`, the key, the value found and what is
// allowed.
absl::StatusOr<StepCostTable> ParseStepCostTable(absl::string_view json,
                                                 absl::string_view source);

absl::StatusOr<StepCostTable> ReadStepCostTable(const std::string& path);

// What ParseStepCostTable() reads, with the measurements of `table.costs` as
// they were made: not what it learned of them since.
std::string ToJson(const StepCostTable& table);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_STEP_COST_TABLE_H_
