// The runtime's output to API messages.
//
// Pure functions of their arguments; thread-safe.
#ifndef ANYPREC_SERVER_RESPONSE_CONVERSION_H_
#define ANYPREC_SERVER_RESPONSE_CONVERSION_H_

#include <span>

#include "anyprec/v1/inference_service.pb.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

// Text, tokens and finish of `chunk`; what the prompt brings is the caller's.
// `logprobs`: report them.
v1::GenerateResponse ToGenerateResponse(int index, const Chunk& chunk,
                                        bool logprobs);

// Adds `next`, the following message of the same sample, to `sample`.
void AppendGenerateResponse(const v1::GenerateResponse& next,
                            v1::GenerateResponse& sample);

v1::Timings ToTimings(const RequestStats& stats);

// Ascending; zero counts left out.
google::protobuf::RepeatedPtrField<v1::BitsCount> ToBitsCounts(
    const BitsHistogram& tokens);

v1::Finish ToFinish(const Finish& finish);

// Tokens of a prompt. Element i of `logprobs` belongs to token i + 1; only
// tokens from `first_scored` on get theirs.
// REQUIRES: logprobs is empty or has one element less than prompt.
void AppendPromptTokens(std::span<const TokenId> prompt,
                        std::span<const float> logprobs, int first_scored,
                        google::protobuf::RepeatedPtrField<v1::Token>& tokens);

// REQUIRES: logprobs.size() + 1 == plan's prompt size.
v1::ScoreResponse ToScoreResponse(const Request& request, int context_tokens,
                                  std::span<const float> logprobs,
                                  const RequestStats& stats);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_RESPONSE_CONVERSION_H_
