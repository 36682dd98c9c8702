// Which tensors a parent model has, by name, type and shape: what the writer
// declares and the reader demands (FORMAT.md).
#ifndef ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_LAYOUT_H_
#define ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_LAYOUT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "runtime/format/safetensors_writer.h"
#include "runtime/format/tensor.h"
#include "runtime/model/model_config.h"

namespace anyprec {

// "format_version" in the metadata of every file: what FORMAT.md describes.
inline constexpr char kParentModelVersion[] = "1";

// A linear layer of a decoder block.
struct LinearSpec {
  std::string name;  // "model.layers.0.self_attn.q_proj"
  int n = 0;         // output features
  int k = 0;         // input features
};

// The seven linear layers of decoder block `layer`, in file order: q, k, v, o,
// gate, up, down.
std::vector<LinearSpec> LinearSpecs(const ModelConfig& config, int layer);

// The other tensors of decoder block `layer` (its two norms, fp32), or, for
// layer num_layers, those of no layer: the embedding (fp16), the final norm
// (fp32), and, where not tied or int8, lm_head.weight (fp16, or int8 with
// lm_head.scale in fp32).
// REQUIRES: config.quantization.
std::vector<TensorInfo> DenseTensorSpecs(const ModelConfig& config, int layer);

// "<name>.qweight".
std::string PlanesName(absl::string_view linear);

// What a linear layer has beside its planes, and for `precision` alone:
// "<name>.lut4", or "<name>.alpha4" and "<name>.beta4". All are fp16.
std::vector<TensorInfo> PrecisionTensors(const QuantizationConfig& quantization,
                                         const LinearSpec& linear,
                                         int precision);

// All tensors of a linear layer in file order.
std::vector<SafetensorsWriter::TensorSpec> LinearTensors(
    const QuantizationConfig& quantization, const LinearSpec& linear);

// All tensors of the model in file order, with a checksum for each plane
// and for each other tensor.
// REQUIRES: config.quantization.
std::vector<SafetensorsWriter::TensorSpec> ParentModelTensors(
    const ModelConfig& config);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_PARENT_MODEL_LAYOUT_H_
