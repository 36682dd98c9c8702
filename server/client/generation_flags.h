// The flags of `anyprec generate` and `anyprec chat`.
#ifndef ANYPREC_SERVER_CLIENT_GENERATION_FLAGS_H_
#define ANYPREC_SERVER_CLIENT_GENERATION_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "anyprec/v1/inference_service.pb.h"
#include "runtime/command_line/flag_set.h"

namespace anyprec {

// Absent members leave the choice to the server.
struct GenerationFlags {
  std::optional<int> bits;
  std::optional<int> min_bits;
  std::optional<int> max_bits;
  std::optional<double> ttft_ms;
  std::optional<double> tpot_ms;
  std::optional<double> deadline_ms;
  std::optional<int> priority;

  std::optional<int> draft_tokens;
  std::optional<int> draft_bits;

  std::optional<int> max_tokens;
  std::vector<std::string> stop;
  bool ignore_eos = false;

  std::optional<double> temperature;
  std::optional<int> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<double> presence_penalty;
  std::optional<double> frequency_penalty;
  std::optional<uint64_t> seed;
  std::optional<int> n;

  std::optional<int> logprobs;
};

void AddGenerationFlags(GenerationFlags& generation, FlagSet& flags);

// All of a request but its prompt. Values are the server's to check.
v1::GenerateRequest ToRequest(const GenerationFlags& generation);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_CLIENT_GENERATION_FLAGS_H_
