#include "runtime/scheduler/admission.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "kernels/bit_plane.h"
#include "runtime/scheduler/prompt_pace.h"

namespace anyprec {
namespace {

constexpr absl::string_view kPayload = "anyprec/refusal";

// Sooner than this nothing has changed: about the time of a few steps.
constexpr absl::Duration kMinRetry = absl::Milliseconds(50);
// Where nothing better is known: a request misses its target on an idle server.
constexpr absl::Duration kLongRetry = absl::Seconds(10);

// So much more, for each unit of pressure, counts the time that a request takes
// itself, if others wait before it: where there is too little for all, what one
// long prompt takes would have served several others. Chosen in simulations,
// where twice as much refuses too many at light loads.
constexpr double kPricePerPressure = 0.2;

std::string Format(absl::Duration time) {
  return absl::StrFormat("%.4g ms", absl::ToDoubleMilliseconds(time));
}

// Why a time may be longer than what it is made of.
std::string PriceNote(double price) {
  if (price <= 1) return "";
  return absl::StrFormat(
      "; while others are refused, its own prompt counts %.2f times", price);
}

absl::Status PredictedLate(absl::string_view what, absl::Duration predicted,
                           absl::Duration wanted, const BitsRange& bits,
                           bool idle, double price,
                           absl::Duration retry_after) {
  const std::string precision = bits.min == bits.max
                                    ? absl::StrCat(bits.min, " bits")
                                    : absl::StrCat("the quickest of ", bits.min,
                                                   " to ", bits.max, " bits");
  return RefusedStatus(
      absl::StrFormat("%s: %s predicted %s and %s, %s wanted (predictions "
                      "keep %.0f %% in hand%s)",
                      what, Format(predicted),
                      idle ? "with no other load" : "at the present load",
                      precision, Format(wanted), 100 * (1 - kHeadroom),
                      PriceNote(price)),
      {std::string(kPredictedLate), retry_after});
}

// Steps until a place is free for one that `ahead` others wait before.
int64_t StepsToPlace(const QueueSnapshot& queue, int ahead) {
  const int running = static_cast<int>(queue.tokens_left.size());
  const int lacking = running + ahead + 1 - queue.max_sequences;
  if (lacking <= 0 || running == 0) return 0;
  const int index = lacking - 1;
  // Beyond those that run: as if they came again.
  return queue.tokens_left[index % running] +
         int64_t{index / running} * queue.tokens_left.back();
}

// A decode step with this request and those that get a place before it.
absl::Duration StepWith(const BitsRange& bits, int waiting_ahead,
                        const QueueSnapshot& queue,
                        const StepCostModel& costs) {
  const int running = static_cast<int>(queue.tokens_left.size());
  const int more =
      1 + std::clamp(queue.max_sequences - running - 1, 0, waiting_ahead);
  std::vector<RunningAnswer> answers = queue.answers;
  answers.insert(answers.end(), more, {bits});
  return QuickestStep(answers, costs);
}

// Prompts, computed one after the other.
struct PromptWork {
  absl::Duration time;  // by themselves
  double chunks = 0;

  void Add(int rows, int64_t context, int bits, PromptPace& pace,
           const StepCostModel& costs) {
    time += rows * pace.RowTime(bits) +
            context * costs.ContextTime(Phase::kPrefill);
    chunks += static_cast<double>(rows) / pace.ChunkRows(bits);
  }
  // When the last is done, with the decode steps in between.
  absl::Duration Until(const PromptPace& pace, absl::Duration step) const {
    return time + pace.DecodeSteps(time, chunks) * step;
  }
  PromptWork operator*(double factor) const {
    return {factor * time, factor * chunks};
  }
  PromptWork operator+(const PromptWork& other) const {
    return {time + other.time, chunks + other.chunks};
  }
};

}  // namespace

int QuickestPromptBits(const BitsRange& bits, int rows,
                       const StepCostModel& costs) {
  int quickest = bits.min;
  absl::Duration least = absl::InfiniteDuration();
  for (int level = bits.min; level <= bits.max; ++level) {
    const absl::Duration time =
        costs.Predict({Phase::kPrefill, level, std::max(1, rows)});
    if (time >= least) continue;
    least = time;
    quickest = level;
  }
  return quickest;
}

absl::Duration QuickestStep(std::span<const RunningAnswer> answers,
                            const StepCostModel& costs) {
  absl::Duration quickest = absl::InfiniteDuration();
  for (int level = kMinBits; level <= kMaxBits; ++level) {
    std::array<RowCount, std::tuple_size_v<BitsHistogram>> groups = {};
    for (const RunningAnswer& answer : answers) {
      const int bits = std::clamp(level, answer.bits.min, answer.bits.max);
      RowCount& group = groups.at(bits);
      group.bits = bits;
      ++group.rows;
      group.context += answer.context;
    }
    const auto end =
        std::remove_if(groups.begin(), groups.end(),
                       [](const RowCount& group) { return group.rows == 0; });
    quickest =
        std::min(quickest, costs.Predict(std::span(groups.begin(), end)));
  }
  return quickest;
}

AdmissionQuery QueryFor(const Request& request, const BitsRange& bits) {
  AdmissionQuery query;
  query.prompt_tokens = static_cast<int>(request.prompt.size());
  // Only an answer that nothing can end early is as long as it may be.
  const StopCriteria& stopping = request.stopping;
  const bool length_is_certain = stopping.max_tokens_given &&
                                 stopping.ignore_eos && stopping.stop.empty() &&
                                 stopping.stop_token_ids.empty();
  query.min_tokens = length_is_certain ? std::max(1, stopping.max_tokens) : 1;
  query.min_bits = bits.min;
  query.max_bits = bits.max;
  query.priority = request.priority;
  query.slo = request.precision.slo;
  query.deadline = request.deadline;
  return query;
}

absl::Time DueTime(absl::Time submitted, const Slo& slo, absl::Time deadline,
                   int priority) {
  absl::Time due = std::min(deadline, submitted + kPatience);
  if (slo.ttft.has_value()) due = std::min(due, submitted + *slo.ttft);
  return due - priority * kPatience;
}

std::optional<AdmissionForecast> ForecastAdmission(const AdmissionQuery& query,
                                                   const BitsRange& bits,
                                                   const QueueSnapshot& queue,
                                                   const StepCostModel& costs,
                                                   absl::Time now) {
  const absl::Time due =
      DueTime(now, query.slo, query.deadline, query.priority);
  const int waiting_ahead = static_cast<int>(std::count_if(
      queue.prompts.begin(), queue.prompts.end(),
      [due](const auto& prompt) { return prompt.waits && prompt.due <= due; }));
  const absl::Duration step = StepWith(bits, waiting_ahead, queue, costs);
  const int prompt_bits = QuickestPromptBits(bits, query.prompt_tokens, costs);
  const absl::Duration alone = costs.Predict(
      {Phase::kPrefill, prompt_bits, std::max(1, query.prompt_tokens)});
  if (alone <= absl::ZeroDuration() || step <= absl::ZeroDuration()) {
    return std::nullopt;
  }
  PromptPace pace(costs, step, queue.token_budget, queue.prefill_chunk_tokens);
  PromptWork work;
  PromptWork own;
  own.Add(query.prompt_tokens, 0, prompt_bits, pace, costs);
  std::vector<const PendingPrompt*> behind;
  for (const PendingPrompt& prompt : queue.prompts) {
    if (prompt.due > due) {
      behind.push_back(&prompt);
    } else {
      work.Add(prompt.rows, prompt.context, prompt.bits, pace, costs);
    }
  }
  AdmissionForecast forecast;
  forecast.step = step;
  if (work.chunks > 0) {
    forecast.price = 1 + kPricePerPressure * (queue.pressure - 1);
    own = own * forecast.price;
  }
  PromptWork with_own = work + own;
  with_own.time = std::max(with_own.time, alone);
  forecast.first_token =
      with_own.Until(pace, step) + StepsToPlace(queue, waiting_ahead) * step;
  forecast.total =
      forecast.first_token + std::max(0, query.min_tokens - 1) * step;
  std::sort(behind.begin(), behind.end(),
            [](const auto* a, const auto* b) { return a->due < b->due; });
  for (const PendingPrompt* const prompt : behind) {
    work.Add(prompt->rows, prompt->context, prompt->bits, pace, costs);
    if (prompt->priority < query.priority) continue;
    const absl::Duration wanted = prompt->wanted - now;
    if (work.Until(pace, step) > wanted) continue;
    forecast.others_late =
        std::max(forecast.others_late, (work + own).Until(pace, step) - wanted);
  }
  return forecast;
}

absl::Status CheckAdmission(const AdmissionQuery& query, const BitsRange& bits,
                            const QueueSnapshot& queue,
                            const StepCostModel& costs, absl::Time now,
                            absl::Duration max_queue_time) {
  const std::optional<AdmissionForecast> forecast =
      ForecastAdmission(query, bits, queue, costs, now);
  if (!forecast.has_value()) return absl::OkStatus();
  const bool idle = queue.tokens_left.empty() && queue.prompts.empty();
  const auto after = [idle](absl::Duration late) {
    return idle ? kLongRetry : std::max(kMinRetry, late);
  };
  const auto misses = [](absl::Duration predicted, absl::Duration wanted) {
    return predicted > kHeadroom * wanted;
  };
  const Slo& slo = query.slo;
  if (slo.ttft.has_value() && misses(forecast->first_token, *slo.ttft)) {
    return PredictedLate("precision.slo.ttft", forecast->first_token, *slo.ttft,
                         bits, idle, forecast->price,
                         after(forecast->first_token - *slo.ttft));
  }
  if (forecast->others_late > absl::ZeroDuration()) {
    const absl::Duration retry_after = after(forecast->others_late);
    return RefusedStatus(
        absl::StrCat("queue: the first token of a request taken before would "
                     "be late by ",
                     Format(forecast->others_late), PriceNote(forecast->price)),
        {std::string(kPredictedLate), retry_after});
  }
  if (slo.tpot.has_value() && misses(forecast->step, *slo.tpot)) {
    const int steps = queue.tokens_left.empty() ? 0 : queue.tokens_left.front();
    return PredictedLate("precision.slo.tpot", forecast->step, *slo.tpot, bits,
                         idle, /*price=*/1, after(steps * forecast->step));
  }
  const absl::Duration deadline_in = query.deadline - now;
  if (misses(forecast->total, deadline_in)) {
    return PredictedLate("deadline", forecast->total, deadline_in, bits, idle,
                         forecast->price, after(forecast->total - deadline_in));
  }
  if (forecast->first_token > max_queue_time && !idle) {
    return RefusedStatus(
        absl::StrCat("queue: ", Format(forecast->first_token),
                     " of work before the first token, takes ",
                     Format(max_queue_time), PriceNote(forecast->price)),
        {std::string(kQueueFull),
         after(forecast->first_token - max_queue_time)});
  }
  return absl::OkStatus();
}

absl::Status RefusedStatus(absl::string_view message, const Refusal& refusal) {
  absl::Status status = absl::ResourceExhaustedError(message);
  status.SetPayload(
      kPayload,
      absl::Cord(absl::StrCat(refusal.reason, " ",
                              absl::ToInt64Nanoseconds(refusal.retry_after))));
  return status;
}

std::optional<Refusal> RefusalOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  if (!payload.has_value()) return std::nullopt;
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(std::string(*payload), ' ');
  int64_t nanoseconds = 0;
  if (!absl::SimpleAtoi(parts.second, &nanoseconds)) return std::nullopt;
  return Refusal{parts.first, absl::Nanoseconds(nanoseconds)};
}

}  // namespace anyprec
