// The sweep that measures step times before the first request.
#ifndef ANYPREC_RUNTIME_ENGINE_WARM_UP_H_
#define ANYPREC_RUNTIME_ENGINE_WARM_UP_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/engine/model_runner.h"
#include "runtime/scheduler/step_cost_model.h"

namespace anyprec {

struct WarmUpOptions {
  int min_bits = 0;
  int max_bits = 0;
  int max_decode_rows = 0;   // sequences in one step
  int max_prefill_rows = 0;  // tokens of a prompt in one step
  int max_context_tokens = 0;
  int kv_blocks = 0;
  int kv_block_tokens = 16;
  absl::Duration time_limit = absl::Seconds(3);
};

// Runs decode steps of 1, 16, 4 and 48 rows and prefill chunks of 128 and 16 at
// every precision, one of each far into a context and one of two precisions,
// and returns what they took, the least of two to five runs each, and, where
// there is time, of three passes over all of them, or of more while they still
// find less.
// Stops early at the limit, so what matters most goes first: decode of a row,
// then prefill of few and many rows at the ends of the precision range.
// StepCostModel estimates what is missing and learns it from the first
// requests. Writes to the KV cache, which therefore must be nobody's yet. Fails
// as the runner fails.
absl::StatusOr<StepCostModel> MeasureStepCosts(ModelRunner& runner,
                                               const WarmUpOptions& options);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_WARM_UP_H_
