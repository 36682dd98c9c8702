// What engine_benchmark measures: equal requests that start together, through
// the engine, without gRPC.
#ifndef ANYPREC_TESTS_BENCH_ENGINE_MEASUREMENT_H_
#define ANYPREC_TESTS_BENCH_ENGINE_MEASUREMENT_H_

#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/engine/engine.h"

namespace anyprec {

struct EngineRates {
  // Over the time until every stream has its first token.
  double prefill_tokens_per_second = 0;
  double decode_tokens_per_second = 0;  // DecodeRate()
};

// One stream for each of `bits`, of `prompt_tokens` random tokens, generating
// `tokens` more at that precision. Shares no KV with earlier calls if the
// engine has no prefix cache.
// FAILED_PRECONDITION says what the KV cache or the model has too little room
// for; errors are otherwise the engine's.
// REQUIRES: prompt_tokens > 0, tokens > 1.
absl::StatusOr<EngineRates> MeasureStreams(Engine& engine,
                                           std::span<const int> bits,
                                           int prompt_tokens, int tokens);

// Streams of different precisions together beside what the best grouping of
// them would give: each precision's streams in a batch of their own, the
// batches' steps in turn.
struct MixedRates {
  double mixed_tokens_per_second = 0;
  double grouped_tokens_per_second = 0;
};

// `streams_each` streams at each of `bits`. Errors as MeasureStreams().
absl::StatusOr<MixedRates> MeasureMixed(Engine& engine,
                                        std::span<const int> bits,
                                        int streams_each, int prompt_tokens,
                                        int tokens);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_BENCH_ENGINE_MEASUREMENT_H_
