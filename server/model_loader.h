// From --model and --device to a model in a backend's memory.
#ifndef ANYPREC_SERVER_MODEL_LOADER_H_
#define ANYPREC_SERVER_MODEL_LOADER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "runtime/model/llama_model.h"
#include "runtime/tokenizer/tokenizer.h"
#include "server/options.h"

namespace anyprec {

struct LoadedModel {
  std::string name;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<LlamaModel> model;     // in the backend's memory
  std::unique_ptr<Tokenizer> tokenizer;  // null where the model has none
};

// Shows progress on stderr. Errors name the path and what is wrong with it.
absl::StatusOr<LoadedModel> LoadModel(const ServerOptions& options);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_MODEL_LOADER_H_
