#include "runtime/scheduler/admission_control.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// How soon a refused request may find a place where nothing is known yet.
constexpr absl::Duration kMinRetry = absl::Milliseconds(100);

BitsRange BitsOf(const AdmissionOptions& options, const PrecisionLimits& limits,
                 const AdmissionQuery& query) {
  return AllowedBits(options.policy, limits, {query.min_bits, query.max_bits});
}

}  // namespace

AdmissionControl::AdmissionControl(const AdmissionOptions& options)
    : options_(options), costs_(std::make_shared<const StepCostModel>()) {}

absl::Status AdmissionControl::Check(const AdmissionQuery& query, int requests,
                                     const PrecisionLimits& limits,
                                     absl::Time now) {
  if (requests >= options_.max_requests) {
    pressure_.AddRefused(now);
    const int steps =
        queue_.tokens_left.empty() ? 0 : queue_.tokens_left.front();
    return RefusedStatus(
        absl::StrCat("queue: ", requests, " requests, takes ",
                     options_.max_requests),
        {std::string(kQueueFull),
         std::max(kMinRetry, steps * QuickestStep(queue_.answers, *costs_))});
  }
  QueueSnapshot queue = queue_;
  queue.pressure = pressure_.At(now);
  queue.prompts.insert(queue.prompts.end(), unseen_.begin(), unseen_.end());
  const BitsRange bits = BitsOf(options_, limits, query);
  const auto check = [&](const QueueSnapshot& seen) {
    return CheckAdmission(query, bits, seen, *costs_, now,
                          options_.max_queue_time);
  };
  absl::Status status = check(queue);
  if (status.ok()) return status;
  QueueSnapshot idle;
  idle.max_sequences = queue.max_sequences;
  idle.prefill_chunk_tokens = queue.prefill_chunk_tokens;
  // What no load would allow presses nobody, and is not to come back soon.
  RETURN_IF_ERROR(check(idle));
  pressure_.AddRefused(now);
  return status;
}

void AdmissionControl::Accept(const AdmissionQuery& query,
                              const PrecisionLimits& limits, absl::Time now) {
  PendingPrompt prompt;
  prompt.due = DueTime(now, query.slo, query.deadline, query.priority);
  prompt.rows = query.prompt_tokens;
  prompt.bits =
      QuickestPromptBits(BitsOf(options_, limits, query), prompt.rows, *costs_);
  prompt.waits = true;
  prompt.priority = query.priority;
  if (query.slo.ttft.has_value()) prompt.wanted = now + *query.slo.ttft;
  unseen_.push_back(prompt);
  pressure_.AddTaken(now);
}

void AdmissionControl::Publish(QueueSnapshot queue,
                               std::shared_ptr<const StepCostModel> costs) {
  queue_ = std::move(queue);
  if (costs != nullptr) costs_ = std::move(costs);
  unseen_.erase(unseen_.begin(),
                unseen_.begin() + static_cast<std::ptrdiff_t>(taken_in_));
  taken_in_ = 0;
}

}  // namespace anyprec
