// ServedModel: what a request can ask of the model being served.
#ifndef ANYPREC_SERVER_SERVED_MODEL_H_
#define ANYPREC_SERVER_SERVED_MODEL_H_

#include <limits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/tokenizer/chat_template.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

struct ServedModel {
  const Tokenizer* tokenizer = nullptr;  // null: prompts are token ids only
  absl::StatusOr<ChatTemplate> chat_template =
      absl::FailedPreconditionError("the model has no chat template");
  int vocab_size = 0;
  int seed_bits = 0;
  int max_bits = 0;
  int max_context_tokens = 0;
  // That the engine takes at once; each sample is one.
  int max_requests = std::numeric_limits<int>::max();
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_SERVED_MODEL_H_
