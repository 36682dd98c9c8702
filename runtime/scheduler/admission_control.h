// AdmissionControl: judges new requests on any thread, by what the scheduler's
// own thread last published of the queue and by what was accepted since.
//
// Thread-compatible: callers lock.
#ifndef ANYPREC_RUNTIME_SCHEDULER_ADMISSION_CONTROL_H_
#define ANYPREC_RUNTIME_SCHEDULER_ADMISSION_CONTROL_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/scheduler/admission.h"
#include "runtime/scheduler/load_pressure.h"
#include "runtime/scheduler/precision_policy.h"
#include "runtime/scheduler/step_cost_model.h"

namespace anyprec {

struct AdmissionOptions {
  int max_requests = 0;  // running and waiting
  // Predicted work before a request's first token.
  absl::Duration max_queue_time = absl::InfiniteDuration();
  PrecisionPolicy policy;
};

class AdmissionControl {
 public:
  explicit AdmissionControl(const AdmissionOptions& options);

  // OK, or RESOURCE_EXHAUSTED with a Refusal: as CheckAdmission says for this
  // load, or for none where that would not be taken either. `requests` are
  // those that were accepted and have not ended.
  absl::Status Check(const AdmissionQuery& query, int requests,
                     const PrecisionLimits& limits, absl::Time now);

  // Of the requests that were refused, but would not have been on an idle
  // server.
  double Pressure(absl::Time now) const { return pressure_.At(now); }

  // The request is accepted; the scheduler will hear of it.
  void Accept(const AdmissionQuery& query, const PrecisionLimits& limits,
              absl::Time now);

  // The scheduler has all that were accepted so far, and the next Publish()
  // tells of them.
  void TakeIn() { taken_in_ = unseen_.size(); }

  // `costs` may be null: as before.
  void Publish(QueueSnapshot queue, std::shared_ptr<const StepCostModel> costs);

 private:
  const AdmissionOptions options_;
  std::shared_ptr<const StepCostModel> costs_;
  QueueSnapshot queue_;
  // Accepted after queue_ was seen; the first `taken_in_` of them are the
  // scheduler's by now.
  std::vector<PendingPrompt> unseen_;
  size_t taken_in_ = 0;
  LoadPressure pressure_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_ADMISSION_CONTROL_H_
