// What tests read from an engine's streams.
#ifndef ANYPREC_TESTS_RUNTIME_ENGINE_ANSWERS_H_
#define ANYPREC_TESTS_RUNTIME_ENGINE_ANSWERS_H_

#include <optional>
#include <vector>

#include "runtime/engine/response_stream.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

// All that a stream gives until its end.
inline Chunk ReadAll(ResponseStream& stream) {
  Chunk all;
  while (std::optional<Chunk> chunk = stream.Next()) {
    all.text += chunk->text;
    for (TokenOutput& token : chunk->tokens) all.tokens.push_back(token);
    for (const float p : chunk->prompt_logprobs) {
      all.prompt_logprobs.push_back(p);
    }
    all.finish = chunk->finish;
  }
  return all;
}

inline std::vector<TokenId> TokensOf(const Chunk& chunk) {
  std::vector<TokenId> tokens;
  for (const TokenOutput& output : chunk.tokens) tokens.push_back(output.token);
  return tokens;
}

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_ENGINE_ANSWERS_H_
