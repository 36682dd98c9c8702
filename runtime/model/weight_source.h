// WeightSource: where a model's weights come from (a parent model folder, an
// unquantized checkpoint, random numbers), for the one loader that builds a
// LlamaModel out of them. Tensors are loaded one stack at a time, so peak
// memory is the backend's copy plus one stack.
#ifndef ANYPREC_RUNTIME_MODEL_WEIGHT_SOURCE_H_
#define ANYPREC_RUNTIME_MODEL_WEIGHT_SOURCE_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"
#include "runtime/format/parent_model_layout.h"
#include "runtime/model/model_config.h"

namespace anyprec {

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  virtual const ModelConfig& config() const = 0;

  // The precisions that LoadStack's layers are served at.
  virtual int min_bits() const = 0;
  virtual int max_bits() const = 0;

  // The layers of a decoder block that share their input, stacked along n.
  virtual absl::StatusOr<std::unique_ptr<LinearWeights>> LoadStack(
      std::span<const LinearSpec> specs, Backend& backend) = 0;

  // The embedding ("model.embed_tokens") or the lm_head ("lm_head").
  virtual absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      const LinearSpec& spec, Backend& backend) = 0;

  // Whether the lm_head is stored apart from the embedding: untied weights, or
  // tied ones of which the head was quantized on its own.
  virtual bool HasLmHead() const = 0;

  // The weights of a norm, e.g. "model.norm".
  virtual absl::StatusOr<std::vector<float>> LoadNorm(absl::string_view name,
                                                      int n) = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_MODEL_WEIGHT_SOURCE_H_
