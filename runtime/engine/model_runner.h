// ModelRunner: the forward pass, as the engine's loop sees it.
#ifndef ANYPREC_RUNTIME_ENGINE_MODEL_RUNNER_H_
#define ANYPREC_RUNTIME_ENGINE_MODEL_RUNNER_H_

#include <span>

#include "absl/status/statusor.h"
#include "runtime/scheduler/step_plan.h"

namespace anyprec {

// Thread-compatible: the engine's thread alone calls it.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  // Computes the rows of `plan` and returns logits [plan.logit_rows,
  // vocab_size], valid until the next call. RESOURCE_EXHAUSTED leaves the
  // runner usable; after any other error it is not.
  virtual absl::StatusOr<std::span<const float>> Execute(
      const StepPlan& plan) = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_MODEL_RUNNER_H_
