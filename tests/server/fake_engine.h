// An engine without a model, whose every step a test decides. Thread-safe.
#ifndef ANYPREC_TESTS_SERVER_FAKE_ENGINE_H_
#define ANYPREC_TESTS_SERVER_FAKE_ENGINE_H_

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/engine/engine.h"

namespace anyprec {

class FakeEngine final : public Engine {
 public:
  FakeEngine();
  ~FakeEngine() override;

  absl::Status Admit(const AdmissionQuery& query) override;
  absl::StatusOr<std::unique_ptr<ResponseStream>> Submit(
      Request request) override;
  absl::Status SetPrecisionLimits(const PrecisionLimits& limits) override;
  const LlamaModel& model() const override;
  EngineStats Stats() const override;
  int max_context_tokens() const override { return 100; }
  absl::Status Health() const override { return absl::OkStatus(); }
  void Drain(absl::Time deadline) override;

  // The answer to every Submit() from now on, where not OK.
  void RefuseWith(absl::Status status);
  // The same for Admit().
  void AdmitWith(absl::Status status);
  // What Admit() was asked.
  std::vector<AdmissionQuery> queries() const;
  void SetWaiting(int waiting);

  // Waits for submission number `index` and returns the request.
  Request WaitForRequest(int index);
  // Gives the stream of submission `index` its next output.
  void Emit(int index, Chunk chunk);
  // Waits until submission `index` is cancelled (or its stream destroyed).
  void WaitForCancel(int index);
  int submissions() const;

 private:
  class Stream;
  struct State;  // of one submission; shared with its stream

  std::shared_ptr<State> StateOf(int index);

  mutable absl::Mutex mutex_;
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  absl::Status admission_ ABSL_GUARDED_BY(mutex_);
  mutable std::vector<AdmissionQuery> queries_ ABSL_GUARDED_BY(mutex_);
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  PrecisionLimits limits_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<State>> states_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_SERVER_FAKE_ENGINE_H_
