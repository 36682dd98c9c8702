// Reads the configuration of a HuggingFace folder.
#ifndef ANYPREC_RUNTIME_FORMAT_CONFIG_FILE_H_
#define ANYPREC_RUNTIME_FORMAT_CONFIG_FILE_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/model/model_config.h"

namespace anyprec {

// Real config.json files have a few kB. As a document a text takes up to 30
// times its size: this keeps it below 32 MB.
inline constexpr size_t kMaxConfigBytes = 1 << 20;

// config.json of `directory`; where there is a generation_config.json, its
// eos_token_id adds to those of config.json (instruct models list their end of
// turn there only). Errors as ParseModelConfig, NOT_FOUND names config.json.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_CONFIG_FILE_H_
