// What an engine is doing, at one moment, and what it has done since it
// started.
#ifndef ANYPREC_RUNTIME_ENGINE_ENGINE_STATS_H_
#define ANYPREC_RUNTIME_ENGINE_ENGINE_STATS_H_

#include <cstdint>
#include <memory>

#include "absl/time/time.h"
#include "runtime/engine/histogram.h"
#include "runtime/scheduler/precision_policy.h"
#include "runtime/scheduler/request.h"
#include "runtime/scheduler/step_cost_model.h"

namespace anyprec {

struct EngineStats {
  // Now.
  int running = 0;
  int waiting = 0;
  int kv_blocks_total = 0;
  int kv_blocks_free = 0;
  int kv_block_tokens = 0;  // in each
  PrecisionLimits precision_limits;
  double load_pressure = 1;  // LoadPressure
  // At most kStepCostsAge old; never null.
  std::shared_ptr<const StepCostModel> step_costs =
      std::make_shared<const StepCostModel>();

  // Since the start.
  int64_t steps = 0;
  // Launched operation by operation for want of memory (Backend).
  int64_t steps_without_record = 0;
  int64_t preemptions = 0;
  BitsHistogram prompt_tokens_by_bits = {};  // computed
  // Tokens of prompts that began to run, and those of them that the prefix
  // cache had.
  int64_t prefix_cache_queries = 0;
  int64_t prefix_cache_hits = 0;
  BitsHistogram generated_tokens_by_bits = {};
  BitsHistogram steps_by_bits = {};  // with at least one row at those bits
  int64_t precision_raises = 0;      // within an answer
  int64_t precision_drops = 0;
  int64_t draft_tokens = 0;           // that were verified
  int64_t accepted_draft_tokens = 0;  // of them
  Histogram inter_token_seconds = Histogram(InterTokenSecondsBounds());
  // Of the steps that the cost model could predict.
  double predicted_step_seconds = 0;
  double measured_step_seconds = 0;
  Histogram measured_by_predicted = Histogram(RatioBounds());
};

inline constexpr absl::Duration kStepCostsAge = absl::Milliseconds(200);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_ENGINE_STATS_H_
