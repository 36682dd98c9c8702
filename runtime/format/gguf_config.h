// Hyper-parameters and tensor names of a Llama-style model in a GGUF file, in
// HuggingFace's terms.
#ifndef ANYPREC_RUNTIME_FORMAT_GGUF_CONFIG_H_
#define ANYPREC_RUNTIME_FORMAT_GGUF_CONFIG_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/format/gguf.h"
#include "runtime/model/model_config.h"

namespace anyprec {

// INVALID_ARGUMENT names a key that is missing or out of range; UNIMPLEMENTED
// names another architecture, or a feature that we do not have.
//
// GGUF keeps Llama 3's stretched rotary frequencies as a table of divisors
// (rope_freqs.weight); the config gets the parameters that reproduce it, and
// UNIMPLEMENTED where no such parameters do.
absl::StatusOr<ModelConfig> ModelConfigFromGguf(const GgufFile& file);

// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight"; nullopt
// for a name that Llama-style models do not have.
std::optional<std::string> GgufTensorName(absl::string_view name);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_GGUF_CONFIG_H_
