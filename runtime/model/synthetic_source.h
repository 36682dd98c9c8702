// SyntheticSource: random weights of a known shape, to measure speed where the
// real weights cannot be had. Planes are uniformly random bits and codebooks
// the quantiles of a normal distribution, as k-means would find them, so that
// the arithmetic is that of a trained model. Nothing sensible is generated.
#ifndef ANYPREC_RUNTIME_MODEL_SYNTHETIC_SOURCE_H_
#define ANYPREC_RUNTIME_MODEL_SYNTHETIC_SOURCE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/model/weight_source.h"

namespace anyprec {

// A shape to fill with random weights: "tinyllama-1.1b", "llama-2-7b",
// "llama-2-13b", "mistral-7b", "llama-3.1-8b", "smollm2-135m". NOT_FOUND lists
// the names.
absl::StatusOr<ModelConfig> SyntheticModelConfig(absl::string_view name);

class SyntheticSource final : public WeightSource {
 public:
  static constexpr int kSeedBits = 3;

  // At kUnquantizedBits, a model of fp16 weights and no other precision.
  // REQUIRES: max_bits in [kSeedBits, kMaxBits] or kUnquantizedBits.
  SyntheticSource(const ModelConfig& config, int max_bits);

  const ModelConfig& config() const override { return config_; }
  int min_bits() const override {
    return max_bits_ == kUnquantizedBits ? kUnquantizedBits : kSeedBits;
  }
  int max_bits() const override { return max_bits_; }
  bool HasLmHead() const override { return true; }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadStack(
      std::span<const LinearSpec> specs, Backend& backend) override;
  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      const LinearSpec& spec, Backend& backend) override;
  absl::StatusOr<std::vector<float>> LoadNorm(absl::string_view name,
                                              int n) override;

 private:
  const ModelConfig config_;
  const int max_bits_;
  uint64_t next_seed_ = 1;  // each layer has its own
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_MODEL_SYNTHETIC_SOURCE_H_
