// Synthetic prompts: random token ids of a given length.
//
// Thread-safe: functions without state.
#ifndef ANYPREC_TESTS_LOAD_PROMPT_H_
#define ANYPREC_TESTS_LOAD_PROMPT_H_

#include <cstdint>
#include <vector>

#include "tests/load/workload.h"

namespace anyprec::load {

// Exactly `request.prompt_tokens` ids of the middle half of the vocabulary, as
// control and byte tokens lie at its ends. Blocks with equal hash ids are equal
// in all requests of a run; what follows them is of the request's seed. Prompts
// of another `run` are others: it must not find these in the prefix cache.
// REQUIRES: vocab_size >= 1.
std::vector<int32_t> PromptTokens(const PlannedRequest& request, int vocab_size,
                                  uint64_t run);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_PROMPT_H_
