// A planned request as the API's message.
//
// Thread-safe: a function without state.
#ifndef ANYPREC_TESTS_LOAD_GENERATE_REQUEST_H_
#define ANYPREC_TESTS_LOAD_GENERATE_REQUEST_H_

#include "anyprec/v1/inference_service.pb.h"
#include "tests/load/request_class.h"
#include "tests/load/workload.h"

namespace anyprec::load {

// Token ids of exactly the planned length, greedy, past end-of-text tokens up
// to the planned output. SLOs are sent with fixed bits too: the server may
// order its queue by them. `run` as for PromptTokens().
v1::GenerateRequest MakeGenerateRequest(const PlannedRequest& planned,
                                        const RequestClass& one, int vocab_size,
                                        uint64_t run);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_GENERATE_REQUEST_H_
