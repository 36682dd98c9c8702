// ModelRunner: the forward pass, as the engine's loop sees it.
#ifndef ANYPREC_RUNTIME_ENGINE_MODEL_RUNNER_H_
#define ANYPREC_RUNTIME_ENGINE_MODEL_RUNNER_H_

#include "absl/status/statusor.h"
#include "runtime/model/step_output.h"
#include "runtime/scheduler/step_plan.h"

namespace anyprec {

// Thread-compatible: the engine's thread alone calls it.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  // Computes the rows of `plan` and returns the logits of its logit_rows and
  // the tokens of its draws. RESOURCE_EXHAUSTED leaves the runner usable;
  // after any other error it is not.
  virtual absl::StatusOr<StepOutput> Execute(const StepPlan& plan) = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_MODEL_RUNNER_H_
