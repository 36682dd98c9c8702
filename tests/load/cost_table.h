// Step times of a machine, as a file holds them: what the simulator runs on.
//
//   {"name": "7B on one H200",       // what it is, and who measured it
//    "kv_tokens": 200000,            // that the KV cache holds
//    "context_us": {"decode": 0.02, "prefill": 0.004},  // of a cached token
//    "shared_ms": 1.5,               // that the groups of a step share
//    "steps": [{"phase": "decode", "bits": 4, "rows": 1, "ms": 2.2}, ...]}
//
// Between rows and bits StepCostModel interpolates.
//
// Thread-safe: values and functions without state.
#ifndef ANYPREC_TESTS_LOAD_COST_TABLE_H_
#define ANYPREC_TESTS_LOAD_COST_TABLE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/scheduler/step_cost_model.h"

namespace anyprec::load {

struct CostTable {
  std::string name;
  int kv_tokens = 0;
  int min_bits = 0;  // of the steps
  int max_bits = 0;
  StepCostModel costs;
};

// INVALID_ARGUMENT names `source`, the key, the value found and what is
// allowed.
absl::StatusOr<CostTable> ParseCostTable(absl::string_view json,
                                         absl::string_view source);

absl::StatusOr<CostTable> ReadCostTable(const std::string& path);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_COST_TABLE_H_
