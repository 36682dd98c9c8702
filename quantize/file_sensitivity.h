// Sensitivities from a file: squared gradients, say, that another framework
// computed for a model too large for a backward pass of our own.
//
// The file is safetensors, single or a folder of shards, with one tensor for
// each quantized layer under the checkpoint's own name ("model.layers.0.
// self_attn.q_proj.weight"), of the layer's shape [n, k], or [k] to hold for
// every row; F32, F16 or BF16; finite and not negative. Other tensors are
// ignored.
#ifndef ANYPREC_QUANTIZE_FILE_SENSITIVITY_H_
#define ANYPREC_QUANTIZE_FILE_SENSITIVITY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "quantize/sensitivity.h"
#include "runtime/format/safetensors.h"
#include "runtime/format/safetensors_folder.h"

namespace anyprec {

class FileSensitivity : public SensitivitySource {
 public:
  // `path` is a safetensors file or a folder of them.
  static absl::StatusOr<std::unique_ptr<FileSensitivity>> Open(
      const std::string& path);

  absl::string_view name() const override { return "file"; }
  std::string fingerprint() const override { return fingerprint_; }

  // NOT_FOUND where the layer is missing, INVALID_ARGUMENT for another shape or
  // type or a negative value, DATA_LOSS for one that is not finite.
  absl::StatusOr<SampleWeights> WeightsFor(absl::string_view layer, int n,
                                           int k) override;

 private:
  FileSensitivity(std::string path, std::string fingerprint);
  const SafetensorsFile::Tensor* Find(absl::string_view name) const;

  const std::string path_;
  const std::string fingerprint_;
  std::unique_ptr<SafetensorsFile> file_;  // one of the two
  std::unique_ptr<SafetensorsFolder> folder_;
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_FILE_SENSITIVITY_H_
