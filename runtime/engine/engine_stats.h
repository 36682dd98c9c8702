// What an engine is doing, at one moment.
#ifndef ANYPREC_RUNTIME_ENGINE_ENGINE_STATS_H_
#define ANYPREC_RUNTIME_ENGINE_ENGINE_STATS_H_

#include <array>
#include <cstdint>
#include <tuple>

#include "absl/time/time.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

struct EngineStats {
  int running = 0;
  int waiting = 0;
  int kv_blocks_total = 0;
  int kv_blocks_free = 0;
  int64_t steps = 0;
  int64_t preemptions = 0;
  int64_t prompt_tokens = 0;
  BitsHistogram generated_tokens_by_bits = {};
  // Predicted time of a step of one decoding sequence, by bits; zero where the
  // model has no such precision.
  std::array<absl::Duration, std::tuple_size_v<BitsHistogram>> decode_step = {};
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_ENGINE_STATS_H_
