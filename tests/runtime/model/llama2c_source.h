// Llama2cSource: weights in llama2.c's first checkpoint format (a header of
// seven int32, then fp32 tensors), for the one small model published that way.
#ifndef ANYPREC_TESTS_RUNTIME_MODEL_LLAMA2C_SOURCE_H_
#define ANYPREC_TESTS_RUNTIME_MODEL_LLAMA2C_SOURCE_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/model/weight_source.h"

namespace anyprec {

class Llama2cSource final : public WeightSource {
 public:
  static absl::StatusOr<std::unique_ptr<Llama2cSource>> Open(
      const std::string& path);

  const ModelConfig& config() const override { return config_; }
  int min_bits() const override;
  int max_bits() const override;
  bool HasLmHead() const override { return false; }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadStack(
      std::span<const LinearSpec> specs, Backend& backend) override;
  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      const LinearSpec& spec, Backend& backend) override;
  absl::StatusOr<std::vector<float>> LoadNorm(absl::string_view name,
                                              int n) override;

 private:
  ModelConfig config_;
  absl::flat_hash_map<std::string, std::vector<float>> tensors_;
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_MODEL_LLAMA2C_SOURCE_H_
