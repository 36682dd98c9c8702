// StepOutput: what a forward pass leaves on the host.
#ifndef ANYPREC_RUNTIME_MODEL_STEP_OUTPUT_H_
#define ANYPREC_RUNTIME_MODEL_STEP_OUTPUT_H_

#include <cstdint>
#include <span>

namespace anyprec {

// Both are valid until the next pass.
struct StepOutput {
  // [logit rows, vocab_size]
  std::span<const float> logits;
  // [draws]: what each drew, kNotFinite (kernels/sampling.h) where a logit is
  // infinite or NaN.
  std::span<const int32_t> tokens;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_MODEL_STEP_OUTPUT_H_
