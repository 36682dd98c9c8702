// Where sample weights come from: how much an error in each weight of a layer
// hurts the model.
#ifndef ANYPREC_QUANTIZE_SENSITIVITY_H_
#define ANYPREC_QUANTIZE_SENSITIVITY_H_

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// Sample weights of one layer W[n, k]. Only ratios within a row matter.
class SampleWeights {
 public:
  // All weights count alike.
  SampleWeights() = default;
  // `values` is [k], the same for every row, or [n, k].
  SampleWeights(std::vector<float> values, int k);

  // [k], or empty where all weights count alike.
  std::span<const float> Row(int row) const;

 private:
  std::vector<float> values_;
  int k_ = 0;
  bool per_row_ = false;
};

class SensitivitySource {
 public:
  virtual ~SensitivitySource() = default;

  // "uniform", "activation", "file": recorded in the model's config.json.
  virtual absl::string_view name() const = 0;

  // Changes with whatever the weights depend on; a quantization that was
  // interrupted is resumed only under the same fingerprint.
  virtual std::string fingerprint() const = 0;

  // The sample weights of layer W[n, k], finite and not negative. `layer` is
  // the tensor's name without ".weight". Errors name the tensor.
  virtual absl::StatusOr<SampleWeights> WeightsFor(absl::string_view layer,
                                                   int n, int k) = 0;
};

class UniformSensitivity : public SensitivitySource {
 public:
  absl::string_view name() const override { return "uniform"; }
  std::string fingerprint() const override { return "uniform"; }
  absl::StatusOr<SampleWeights> WeightsFor(absl::string_view layer, int n,
                                           int k) override;
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_SENSITIVITY_H_
