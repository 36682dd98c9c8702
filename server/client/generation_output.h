// How an answer is shown.
#ifndef ANYPREC_SERVER_CLIENT_GENERATION_OUTPUT_H_
#define ANYPREC_SERVER_CLIENT_GENERATION_OUTPUT_H_

#include <grpcpp/support/status.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "anyprec/v1/inference_service.pb.h"

namespace anyprec {

// Tokens per second after the first, or over all the time for one token.
double TokensPerSecond(const v1::Finish& finish);

// {"text", "tokens", "prompt_tokens", "prompt_bits": {"3": 12},
//  "finish_reason", "bits": {"4": 63}, "precision_changes", "queue_ms",
//  "ttft_ms", "tpot_ms", "total_ms", "tokens_per_second", "seed", "request_id",
//  "token_ids"}, and "logprobs" where they were asked for.
nlohmann::json SampleToJson(const v1::GenerateResponse& sample);

// The sample's object; for several, {"samples": [...]}; with "error" in it
// where the call failed.
nlohmann::json AnswerToJson(const std::vector<v1::GenerateResponse>& samples,
                            const grpc::Status& status);

// "64 tokens at 4 bits after a prompt at 3 bits, 35.1 tokens/s, the first after
//  21.0 ms"
std::string SummaryLine(const v1::GenerateResponse& sample);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_CLIENT_GENERATION_OUTPUT_H_
