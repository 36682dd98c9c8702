// Builds a LlamaModel out of a WeightSource, block by block.
#ifndef ANYPREC_RUNTIME_MODEL_LLAMA_LOADER_H_
#define ANYPREC_RUNTIME_MODEL_LLAMA_LOADER_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "runtime/model/llama_model.h"
#include "runtime/model/weight_source.h"

namespace anyprec {

class LlamaLoader {
 public:
  LlamaLoader(WeightSource& source, LoadOptions options, Backend& backend)
      : source_(source), options_(std::move(options)), backend_(backend) {}

  // RESOURCE_EXHAUSTED, before anything is read, where the weights cannot fit
  // in what is free of a device's memory. Errors are otherwise the source's and
  // the backend's, with the tensor's name.
  absl::StatusOr<std::unique_ptr<LlamaModel>> Load();

 private:
  absl::Status CheckRoom() const;
  absl::StatusOr<LlamaModel::Layer> LoadLayer(int index);
  absl::StatusOr<std::unique_ptr<Buffer>> LoadNorm(absl::string_view name);
  absl::StatusOr<std::unique_ptr<Buffer>> Upload(std::span<const float> values);
  absl::Status LoadRope(LlamaModel& model);

  WeightSource& source_;
  const LoadOptions options_;
  Backend& backend_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_MODEL_LLAMA_LOADER_H_
