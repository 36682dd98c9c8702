// Step times of earlier starts: one file for each model, device, number of
// threads and sweep, in the form of runtime/scheduler/step_cost_table.h.
//
// Nothing depends on a file: one that is missing, damaged or of something else
// is measured anew, and one that cannot be written is a warning.
#ifndef ANYPREC_SERVER_STEP_COST_CACHE_H_
#define ANYPREC_SERVER_STEP_COST_CACHE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/engine/engine.h"
#include "runtime/model/llama_model.h"
#include "runtime/scheduler/step_cost_table.h"

namespace anyprec {

// What step times depend on: the model, its precisions, the backend with its
// threads and instruction set, and the machine's processor; and what of them is
// measured: the steps that `options` allow, as far as there was time.
std::string StepCostKey(absl::string_view model_name, const LlamaModel& model,
                        absl::string_view backend_name,
                        const EngineOptions& options);

class StepCostCache {
 public:
  // Of the file for `key` in `folder`.
  StepCostCache(const std::string& folder, const std::string& key);

  // NOT_FOUND where there is no file, or one for another key; other errors say
  // what is wrong with it.
  absl::StatusOr<StepCostModel> Read() const;

  // Makes the folder where there is none. Replaces the file as a whole.
  // INVALID_ARGUMENT where Read() would not take it, as where a phase was not
  // measured.
  absl::Status Write(const StepCostModel& costs, int kv_tokens) const;

  const std::string& path() const { return path_; }

 private:
  const std::string key_;
  const std::string path_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_STEP_COST_CACHE_H_
