#include "tests/server/fake_engine.h"

#include <deque>
#include <utility>

#include "kernels/check.h"

namespace anyprec {

struct FakeEngine::State {
  absl::Mutex mutex;
  Request request;
  std::deque<Chunk> chunks ABSL_GUARDED_BY(mutex);
  absl::AnyInvocable<void()> ready ABSL_GUARDED_BY(mutex);
  bool cancelled ABSL_GUARDED_BY(mutex) = false;
};

class FakeEngine::Stream final : public ResponseStream {
 public:
  explicit Stream(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~Stream() override {
    absl::MutexLock lock(&state_->mutex);
    state_->cancelled = true;
    state_->ready = nullptr;
  }

  std::optional<Chunk> Next() override {
    ANYPREC_CHECK(false) << "the server never blocks on a stream";
    return std::nullopt;
  }

  std::optional<Chunk> TryNext() override {
    absl::MutexLock lock(&state_->mutex);
    if (state_->chunks.empty()) return std::nullopt;
    Chunk chunk = std::move(state_->chunks.front());
    state_->chunks.pop_front();
    return chunk;
  }

  void OnReady(absl::AnyInvocable<void()> ready) override {
    absl::MutexLock lock(&state_->mutex);
    state_->ready = std::move(ready);
    if (!state_->chunks.empty()) state_->ready();
  }

  void Cancel() override {
    absl::MutexLock lock(&state_->mutex);
    state_->cancelled = true;
  }

 private:
  std::shared_ptr<State> state_;
};

FakeEngine::FakeEngine() = default;
FakeEngine::~FakeEngine() = default;

absl::Status FakeEngine::Admit(const AdmissionQuery& query) {
  absl::MutexLock lock(&mutex_);
  queries_.push_back(query);
  return admission_;
}

absl::StatusOr<std::unique_ptr<ResponseStream>> FakeEngine::Submit(
    Request request) {
  absl::MutexLock lock(&mutex_);
  if (!refusal_.ok()) return refusal_;
  auto state = std::make_shared<State>();
  state->request = std::move(request);
  states_.push_back(state);
  return std::make_unique<Stream>(std::move(state));
}

const LlamaModel& FakeEngine::model() const {
  ANYPREC_CHECK(false) << "the fake engine has no model";
  std::abort();
}

absl::Status FakeEngine::SetPrecisionLimits(const PrecisionLimits& limits) {
  absl::MutexLock lock(&mutex_);
  if (!refusal_.ok()) return refusal_;
  limits_ = limits;
  return absl::OkStatus();
}

EngineStats FakeEngine::Stats() const {
  absl::MutexLock lock(&mutex_);
  EngineStats stats;
  stats.precision_limits = limits_;
  stats.waiting = waiting_;
  stats.running = static_cast<int>(states_.size());
  stats.kv_blocks_total = 10;
  stats.kv_blocks_free = 7;
  stats.prompt_tokens_by_bits[3] = 30;
  stats.prompt_tokens_by_bits[4] = 10;
  stats.generated_tokens_by_bits[3] = 5;
  stats.generated_tokens_by_bits[8] = 6;
  return stats;
}

void FakeEngine::Drain(absl::Time) {}

void FakeEngine::AdmitWith(absl::Status status) {
  absl::MutexLock lock(&mutex_);
  admission_ = std::move(status);
}

std::vector<AdmissionQuery> FakeEngine::queries() const {
  absl::MutexLock lock(&mutex_);
  return queries_;
}

void FakeEngine::RefuseWith(absl::Status status) {
  absl::MutexLock lock(&mutex_);
  refusal_ = std::move(status);
}

void FakeEngine::SetWaiting(int waiting) {
  absl::MutexLock lock(&mutex_);
  waiting_ = waiting;
}

std::shared_ptr<FakeEngine::State> FakeEngine::StateOf(int index) {
  const auto submitted = [this, index]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return static_cast<int>(states_.size()) > index;
  };
  absl::MutexLock lock(&mutex_, absl::Condition(&submitted));
  return states_[index];
}

Request FakeEngine::WaitForRequest(int index) {
  return StateOf(index)->request;
}

void FakeEngine::Emit(int index, Chunk chunk) {
  const std::shared_ptr<State> state = StateOf(index);
  absl::MutexLock lock(&state->mutex);
  state->chunks.push_back(std::move(chunk));
  // As the contract has it: only when the stream was empty.
  if (state->chunks.size() == 1 && state->ready) state->ready();
}

void FakeEngine::WaitForCancel(int index) {
  const std::shared_ptr<State> state = StateOf(index);
  absl::MutexLock lock(&state->mutex, absl::Condition(&state->cancelled));
}

int FakeEngine::submissions() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(states_.size());
}

}  // namespace anyprec
