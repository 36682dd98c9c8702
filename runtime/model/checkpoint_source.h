// CheckpointSource: weights of an unquantized checkpoint, served as they are.
#ifndef ANYPREC_RUNTIME_MODEL_CHECKPOINT_SOURCE_H_
#define ANYPREC_RUNTIME_MODEL_CHECKPOINT_SOURCE_H_

#include <memory>
#include <span>
#include <vector>

#include "runtime/format/checkpoint.h"
#include "runtime/model/weight_source.h"

namespace anyprec {

class CheckpointSource final : public WeightSource {
 public:
  explicit CheckpointSource(std::unique_ptr<Checkpoint> checkpoint)
      : checkpoint_(std::move(checkpoint)) {}

  const ModelConfig& config() const override { return checkpoint_->config(); }
  int min_bits() const override;
  int max_bits() const override;
  bool HasLmHead() const override { return !config().tie_word_embeddings; }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadStack(
      std::span<const LinearSpec> specs, Backend& backend) override;
  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      const LinearSpec& spec, Backend& backend) override;
  absl::StatusOr<std::vector<float>> LoadNorm(absl::string_view name,
                                              int n) override;

 private:
  const std::unique_ptr<Checkpoint> checkpoint_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_MODEL_CHECKPOINT_SOURCE_H_
