// Sensitivities from activations: E[x_k^2], the mean square of each input of a
// layer over calibration tokens, the same for every row. An error e in W[n, k]
// changes output n by e * x_k, so this is the diagonal of the layer's output
// error. Needs a forward pass only, where the Fisher information needs
// gradients.
#ifndef ANYPREC_QUANTIZE_ACTIVATION_SENSITIVITY_H_
#define ANYPREC_QUANTIZE_ACTIVATION_SENSITIVITY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"
#include "quantize/sensitivity.h"

namespace anyprec {

// The forward passes run when the first layer is asked for; they hold the whole
// unquantized model in `backend` and let go of it when done. Thread-compatible.
class ActivationSensitivity : public SensitivitySource {
 public:
  struct Options {
    std::string checkpoint;  // folder or GGUF file
    // Token sequences of equal length, see ReadCalibration.
    std::vector<std::vector<int32_t>> sequences;
    // Folder that keeps the measurements, unless empty: a run that resumes an
    // interrupted one then need not repeat them. The caller removes it.
    std::string cache_path;
    // Called with the number of sequences done.
    std::function<void(int)> progress;
  };

  // `backend` must outlive this object.
  ActivationSensitivity(Options options, Backend& backend);

  absl::string_view name() const override { return "activation"; }
  std::string fingerprint() const override;

  // INVALID_ARGUMENT where a token is outside the model's vocabulary or a
  // sequence beyond its context; DATA_LOSS where activations are not finite.
  absl::StatusOr<SampleWeights> WeightsFor(absl::string_view layer, int n,
                                           int k) override;

 private:
  absl::Status Measure();
  // What measurements depend on: the checkpoint and the sequences.
  absl::StatusOr<std::string> CacheKey() const;
  bool LoadCache(const std::string& key);
  absl::Status SaveCache(const std::string& key) const;

  const Options options_;
  Backend& backend_;
  // E[x^2] of each input, by layer. Empty: not measured yet.
  absl::flat_hash_map<std::string, std::vector<float>> mean_squares_;
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_ACTIVATION_SENSITIVITY_H_
