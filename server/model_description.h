// What GetModel answers of a model, all but the state of the moment.
#ifndef ANYPREC_SERVER_MODEL_DESCRIPTION_H_
#define ANYPREC_SERVER_MODEL_DESCRIPTION_H_

#include <string>

#include "absl/strings/string_view.h"
#include "anyprec/v1/inference_service.pb.h"
#include "runtime/model/llama_model.h"
#include "server/served_model.h"

namespace anyprec {

v1::GetModelResponse DescribeModel(const std::string& name,
                                   const LlamaModel& model,
                                   const ServedModel& served,
                                   absl::string_view backend_name);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_MODEL_DESCRIPTION_H_
