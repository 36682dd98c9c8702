// Admission: whether a new request could keep its SLO at the load of the
// moment, at any precision that it may get. One that could not is better told
// so at once than after it has cost others their time.
//
// A pure function of a snapshot of the queue and of measured step times.
#ifndef ANYPREC_RUNTIME_SCHEDULER_ADMISSION_H_
#define ANYPREC_RUNTIME_SCHEDULER_ADMISSION_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "runtime/scheduler/request.h"
#include "runtime/scheduler/step_cost_model.h"

namespace anyprec {

// What is known of a request before its prompt is tokenized.
struct AdmissionQuery {
  int prompt_tokens = 0;  // perhaps estimated
  int min_tokens = 0;     // of its answer: what it will have for certain
  int min_bits = 0;       // what it may run at
  int max_bits = 0;
  int priority = 0;
  Slo slo;
  absl::Time deadline = absl::InfiniteFuture();
};

// For a request that may run at `bits`.
AdmissionQuery QueryFor(const Request& request, const BitsRange& bits);

// A prompt that is yet to be computed.
struct PendingPrompt {
  absl::Time due;  // its rank among the waiting (Scheduler)
  int bits = 0;    // QuickestPromptBits of what it may get
  int rows = 0;
  int64_t context = 0;  // of its rows together (RowCount)
  bool waits = false;   // for a place
  int priority = 0;
  // When its first token is wanted.
  absl::Time wanted = absl::InfiniteFuture();
};

// The precision out of `bits` with which `rows` rows of a prompt take the least
// time; of several the lowest.
int QuickestPromptBits(const BitsRange& bits, int rows,
                       const StepCostModel& costs);

// One that decodes, or will.
struct RunningAnswer {
  BitsRange bits;       // that it may get
  int64_t context = 0;  // of its row (RowCount)
};

// What a step of them takes where they share a precision as far as their ranges
// go, the one with which it is quickest: each at its lowest is slower where
// that keeps them apart.
absl::Duration QuickestStep(std::span<const RunningAnswer> answers,
                            const StepCostModel& costs);

// The queue, as the engine's thread last saw it.
struct QueueSnapshot {
  std::vector<PendingPrompt> prompts;
  std::vector<RunningAnswer> answers;  // of all that run
  std::vector<int> tokens_left;        // of all that run; ascending
  // Least time per token that one of them allows.
  absl::Duration token_budget = absl::InfiniteDuration();
  int max_sequences = 0;
  int prefill_chunk_tokens = 0;
  double pressure = 1;  // LoadPressure
};

// When a request would get what it asks for. Under pressure its own prompt
// counts for more than it takes, if others are computed before it.
struct AdmissionForecast {
  double price = 1;            // how often its own prompt counts
  absl::Duration first_token;  // from now
  absl::Duration step;         // of its decodes
  absl::Duration total;        // with min_tokens
  // How much later than wanted the first token of another request would be that
  // would be in time without this one; the most of all. Those of lower priority
  // do not count.
  absl::Duration others_late;
};

// For a request that may get `bits`; nullopt where the costs are not known yet.
std::optional<AdmissionForecast> ForecastAdmission(const AdmissionQuery& query,
                                                   const BitsRange& bits,
                                                   const QueueSnapshot& queue,
                                                   const StepCostModel& costs,
                                                   absl::Time now);

// The rank of a request among those that wait; earlier goes first.
absl::Time DueTime(absl::Time submitted, const Slo& slo, absl::Time deadline,
                   int priority);

// A request without deadline or target is due this long after it came; a level
// of priority is worth as much.
inline constexpr absl::Duration kPatience = absl::Seconds(30);

// OK, or RESOURCE_EXHAUSTED with a Refusal: whichever of `bits` it gets, the
// request would miss a target or its deadline, make another miss one that was
// taken before and is no less important, or wait longer than `max_queue_time`.
absl::Status CheckAdmission(const AdmissionQuery& query, const BitsRange& bits,
                            const QueueSnapshot& queue,
                            const StepCostModel& costs, absl::Time now,
                            absl::Duration max_queue_time);

// Why a request was refused that might be taken later.
struct Refusal {
  std::string reason;  // kQueueFull or kPredictedLate
  absl::Duration retry_after;
};

inline constexpr absl::string_view kQueueFull = "QUEUE_FULL";
inline constexpr absl::string_view kPredictedLate = "PREDICTED_LATE";

// RESOURCE_EXHAUSTED that carries a Refusal.
absl::Status RefusedStatus(absl::string_view message, const Refusal& refusal);
std::optional<Refusal> RefusalOf(const absl::Status& status);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_ADMISSION_H_
