// ParentSource: weights of a parent model folder.
#ifndef ANYPREC_RUNTIME_MODEL_PARENT_SOURCE_H_
#define ANYPREC_RUNTIME_MODEL_PARENT_SOURCE_H_

#include <memory>
#include <span>
#include <vector>

#include "runtime/format/parent_model_file.h"
#include "runtime/model/weight_source.h"

namespace anyprec {

class ParentSource final : public WeightSource {
 public:
  explicit ParentSource(std::unique_ptr<ParentModelFile> file)
      : file_(std::move(file)) {}

  const ModelConfig& config() const override { return file_->config(); }
  int min_bits() const override { return file_->seed_bits(); }
  int max_bits() const override { return file_->max_bits(); }
  bool HasLmHead() const override;

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadStack(
      std::span<const LinearSpec> specs, Backend& backend) override;
  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      const LinearSpec& spec, Backend& backend) override;
  absl::StatusOr<std::vector<float>> LoadNorm(absl::string_view name,
                                              int n) override;

 private:
  const std::unique_ptr<ParentModelFile> file_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_MODEL_PARENT_SOURCE_H_
