// Whether a request makes sense for a model. Pure; safe from any thread.
#ifndef ANYPREC_RUNTIME_ENGINE_REQUEST_VALIDATION_H_
#define ANYPREC_RUNTIME_ENGINE_REQUEST_VALIDATION_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

inline constexpr int kMaxTopLogprobs = 20;
inline constexpr int kMaxStopStrings = 16;
inline constexpr int kMaxStopStringBytes = 1024;
inline constexpr int kMaxStopTokens = 256;

// What a request is checked against.
struct ModelLimits {
  int vocab_size = 0;
  int min_bits = 0;
  int max_bits = 0;
  int max_context_tokens = 0;
  bool has_tokenizer = false;
  std::vector<TokenId> eos_ids;
};

// INVALID_ARGUMENT; the message is "field: value, needs range", where field is
// the path of a member of Request: "sampling.top_p: 1.5, needs (0, 1]".
absl::Status ValidateRequest(const Request& request, const ModelLimits& limits);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_REQUEST_VALIDATION_H_
