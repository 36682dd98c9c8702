#include "server/stats_conversion.h"

#include <numeric>

#include "absl/time/time.h"
#include "server/process_memory.h"
#include "server/response_conversion.h"

namespace anyprec {
namespace {

int64_t Total(const BitsHistogram& tokens) {
  return std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
}

v1::StepCost ToStepCost(const StepCostPoint& point) {
  v1::StepCost cost;
  cost.set_phase(point.phase == Phase::kDecode ? v1::STEP_PHASE_DECODE
                                               : v1::STEP_PHASE_PREFILL);
  cost.set_bits(point.bits);
  cost.set_rows(point.rows);
  cost.set_measured_ms(absl::ToDoubleMilliseconds(point.measured));
  cost.set_predicted_ms(absl::ToDoubleMilliseconds(point.predicted));
  return cost;
}

}  // namespace

v1::ServerState ToServerState(const EngineStats& stats) {
  v1::ServerState state;
  state.set_running_requests(stats.running);
  state.set_waiting_requests(stats.waiting);
  state.set_kv_blocks_total(stats.kv_blocks_total);
  state.set_kv_blocks_free(stats.kv_blocks_free);
  state.set_steps(stats.steps);
  state.set_prompt_tokens(Total(stats.prompt_tokens_by_bits));
  state.set_generated_tokens(Total(stats.generated_tokens_by_bits));
  state.set_resident_bytes(ProcessResidentBytes());
  state.set_prefix_cache_queries(stats.prefix_cache_queries);
  state.set_prefix_cache_hits(stats.prefix_cache_hits);
  state.set_draft_tokens(stats.draft_tokens);
  state.set_accepted_draft_tokens(stats.accepted_draft_tokens);
  return state;
}

v1::PrecisionLimits ToLimits(const PrecisionLimits& limits) {
  v1::PrecisionLimits message;
  message.set_min_bits(limits.min_bits);
  message.set_max_bits(limits.max_bits);
  return message;
}

v1::PowerState ToPowerState(const PrecisionGovernor::State& state) {
  v1::PowerState message;
  if (state.watts.has_value()) message.set_watts(*state.watts);
  message.set_meter(state.meter);
  if (state.budget_watts.has_value()) {
    message.set_budget_watts(*state.budget_watts);
  }
  if (state.cap_bits.has_value()) message.set_cap_bits(*state.cap_bits);
  return message;
}

v1::GetStatsResponse ToStatsResponse(const EngineStats& stats,
                                     const PrecisionGovernor::State& state) {
  v1::GetStatsResponse response;
  *response.mutable_state() = ToServerState(stats);
  response.set_preemptions(stats.preemptions);
  *response.mutable_prompt_tokens_by_bits() =
      ToBitsCounts(stats.prompt_tokens_by_bits);
  *response.mutable_generated_tokens_by_bits() =
      ToBitsCounts(stats.generated_tokens_by_bits);
  for (size_t bits = 0; bits < stats.steps_by_bits.size(); ++bits) {
    if (const int64_t steps = stats.steps_by_bits[bits]) {
      v1::BitsSteps* count = response.add_steps_by_bits();
      count->set_bits(static_cast<int>(bits));
      count->set_steps(steps);
    }
  }
  response.set_precision_raises(stats.precision_raises);
  response.set_precision_drops(stats.precision_drops);
  v1::StepCostModel* model = response.mutable_step_cost_model();
  for (const StepCostPoint& point : stats.step_costs->Points()) {
    *model->add_costs() = ToStepCost(point);
  }
  model->set_decode_context_us(absl::ToDoubleMicroseconds(
      stats.step_costs->ContextTime(Phase::kDecode)));
  model->set_prefill_context_us(absl::ToDoubleMicroseconds(
      stats.step_costs->ContextTime(Phase::kPrefill)));
  model->set_shared_ms(
      absl::ToDoubleMilliseconds(stats.step_costs->SharedTime()));
  model->set_predicted_ms_total(stats.predicted_step_seconds * 1e3);
  model->set_measured_ms_total(stats.measured_step_seconds * 1e3);
  *response.mutable_operator_limits() = ToLimits(state.operator_limits);
  *response.mutable_limits_in_force() = ToLimits(stats.precision_limits);
  *response.mutable_power() = ToPowerState(state);
  return response;
}

}  // namespace anyprec
