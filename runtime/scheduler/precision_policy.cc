#include "runtime/scheduler/precision_policy.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace anyprec {
namespace {

bool AsksForLatency(const PrecisionDemand& demand) {
  return demand.min_bits < demand.max_bits &&
         std::min({demand.first_token_in, demand.token_every, demand.all_in}) <
             absl::InfiniteDuration();
}

// Time of a step in which every sequence decodes: what those that still
// prefill will meet as well.
absl::Duration DecodeStepTime(std::span<const int> bits,
                              const StepCostModel& costs) {
  BitsHistogram rows = {};
  for (const int b : bits) ++rows[b];
  absl::Duration total;
  for (int b = 0; b < static_cast<int>(rows.size()); ++b) {
    if (rows[b] == 0) continue;
    total += costs.Predict({Phase::kDecode, b, static_cast<int>(rows[b])});
  }
  return total;
}

// Whether `demand` holds at `bits` while decode steps take `step_time`.
bool Holds(const PrecisionDemand& demand, int bits, absl::Duration step_time,
           int prefill_chunk_tokens, const StepCostModel& costs) {
  const double headroom = demand.current_bits != 0 && bits > demand.current_bits
                              ? kRaiseHeadroom
                              : kHeadroom;
  absl::Duration to_first_token = step_time;
  if (demand.prompt_rows_left > 0) {
    // The decodes of the others go on in each step that takes a chunk.
    const int chunks =
        (demand.prompt_rows_left - 1) / std::max(1, prefill_chunk_tokens) + 1;
    to_first_token =
        chunks * step_time +
        costs.Predict({Phase::kPrefill, bits, demand.prompt_rows_left});
    if (to_first_token > demand.first_token_in * headroom) return false;
  }
  const absl::Duration all =
      to_first_token + std::max(0, demand.tokens_left - 1) * step_time;
  return step_time <= demand.token_every * headroom &&
         all <= demand.all_in * headroom;
}

// One assignment of precisions, and what is predicted of it.
struct Rung {
  std::vector<int> bits;
  std::vector<size_t> broken;  // demands that it does not keep
  absl::Duration time;

  bool BetterThan(const Rung& other) const {
    return std::make_pair(broken.size(), time) <
           std::make_pair(other.broken.size(), other.time);
  }
};

Rung Evaluate(std::span<const PrecisionDemand> demands, std::vector<int> bits,
              int prefill_chunk_tokens, const StepCostModel& costs) {
  Rung rung;
  rung.bits = std::move(bits);
  const absl::Duration step_time = DecodeStepTime(rung.bits, costs);
  rung.time = step_time;
  for (size_t i = 0; i < demands.size(); ++i) {
    const PrecisionDemand& demand = demands[i];
    rung.time += costs.Predict(
        {Phase::kPrefill, rung.bits[i],
         std::min(demand.prompt_rows_left, prefill_chunk_tokens)});
    if (AsksForLatency(demand) &&
        !Holds(demand, rung.bits[i], step_time, prefill_chunk_tokens, costs)) {
      rung.broken.push_back(i);
    }
  }
  return rung;
}

// Comes down from `top`, the sequences with broken demands a bit at a time, or
// all that ask for latency. The first rung that keeps all demands, or the best.
Rung Descend(std::span<const PrecisionDemand> demands, const Rung& top,
             bool together, int prefill_chunk_tokens,
             const StepCostModel& costs) {
  Rung best = top;
  Rung rung = top;
  while (!rung.broken.empty()) {
    std::vector<int> bits = rung.bits;
    const auto lower = [&](size_t i) {
      if (bits[i] > demands[i].min_bits) --bits[i];
    };
    if (together) {
      for (size_t i = 0; i < demands.size(); ++i) {
        if (AsksForLatency(demands[i])) lower(i);
      }
    } else {
      for (const size_t i : rung.broken) lower(i);
    }
    if (bits == rung.bits) break;
    rung = Evaluate(demands, std::move(bits), prefill_chunk_tokens, costs);
    if (rung.BetterThan(best)) best = rung;
  }
  return best;
}

}  // namespace

std::vector<int> ChoosePrecisions(std::span<const PrecisionDemand> demands,
                                  int prefill_chunk_tokens,
                                  const StepCostModel& costs) {
  std::vector<int> ceilings;
  ceilings.reserve(demands.size());
  for (const PrecisionDemand& demand : demands) {
    ceilings.push_back(demand.max_bits);
  }
  if (std::none_of(demands.begin(), demands.end(), AsksForLatency)) {
    return ceilings;
  }
  const Rung top =
      Evaluate(demands, std::move(ceilings), prefill_chunk_tokens, costs);
  Rung best = Descend(demands, top, false, prefill_chunk_tokens, costs);
  if (!best.broken.empty()) {
    Rung shared = Descend(demands, top, true, prefill_chunk_tokens, costs);
    if (shared.broken.size() < best.broken.size()) best = std::move(shared);
  }
  return std::move(best.bits);
}

}  // namespace anyprec
