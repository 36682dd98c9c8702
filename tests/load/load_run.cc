#include "tests/load/load_run.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/random/random.h"
#include "absl/time/clock.h"
#include "tests/load/call_outcome.h"
#include "tests/load/generate_request.h"

namespace anyprec::load {

void LoadCounters::Reset(int64_t now_ns) {
  start_ns = now_ns;
  for (std::atomic<int64_t>* count :
       {&sent, &done, &answered, &refused, &failed, &cancelled, &tokens,
        &token_bits}) {
    *count = 0;
  }
}

void LoadCounters::Count(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      ++answered;
      break;
    case Outcome::kRefused:
      ++refused;
      break;
    case Outcome::kCancelled:
      ++cancelled;
      break;
    default:
      ++failed;
  }
  ++done;
}

// One Generate call. Alive while in LoadRun::calls_, which is until OnDone().
class Call final : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  Call(size_t index, v1::GenerateRequest request,
       std::optional<absl::Duration> cancel_at, LoadRun& run,
       RequestRecord& record)
      : index_(index),
        request_(std::move(request)),
        cancel_at_(cancel_at),
        run_(run),
        record_(record) {}

  size_t index() const { return index_; }
  const std::optional<absl::Duration>& cancel_at() const { return cancel_at_; }

  void Start(Connection* connection) {
    connection_ = connection;
    record_.sent_at = run_.Now();
    connection->stub->async()->Generate(&context_, &request_, this);
    StartRead(&message_);
    StartCall();
  }

  // Thread-safe; without effect once the call has ended.
  void Cancel(OwnCancel why) {
    own_cancel_ = why;
    context_.TryCancel();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;  // OnDone follows.
    AddMessage(message_, run_.Now(), record_);
    finish_seen_ = finish_seen_ || message_.has_finish();
    int64_t bits = 0;
    for (const v1::Token& token : message_.tokens()) bits += token.bits();
    run_.OnTokens(message_.tokens_size(), bits);
    StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override {
    record_.finished_at = run_.Now();
    SetOutcome(status, own_cancel_, finish_seen_, record_);
    run_.OnDone(index_, connection_, record_.outcome);  // Deletes this.
  }

 private:
  const size_t index_;
  const v1::GenerateRequest request_;
  const std::optional<absl::Duration> cancel_at_;
  LoadRun& run_;
  RequestRecord& record_;
  Connection* connection_ = nullptr;
  std::atomic<OwnCancel> own_cancel_ = OwnCancel::kNone;
  bool finish_seen_ = false;
  grpc::ClientContext context_;
  v1::GenerateResponse message_;
};

LoadRun::LoadRun(absl::Duration drain_timeout,
                 const std::vector<RequestClass>& classes,
                 const TargetModel& model, ConnectionPool& connections,
                 LoadCounters& counters)
    : drain_timeout_(drain_timeout),
      classes_(classes),
      model_(model),
      connections_(connections),
      counters_(counters),
      start_(SteadyClock::now()),
      prompts_(absl::Uniform<uint64_t>(absl::BitGen())) {
  counters_.Reset(start_.time_since_epoch().count());
}

std::shared_ptr<Call> LoadRun::Prepare(const PlannedRequest& planned) {
  const RequestClass& one = classes_[planned.class_index];
  const size_t index = records_.size();
  RequestRecord& record = records_.emplace_back();
  record.class_index = planned.class_index;
  record.prompt_tokens = planned.prompt_tokens;
  record.planned_output_tokens = planned.output_tokens;
  record.floor_bits = one.floor_bits();
  record.planned_at = planned.at;
  std::optional<absl::Duration> cancel_at;
  if (planned.cancel_after.has_value()) {
    cancel_at = planned.at + *planned.cancel_after;
  }
  return std::make_shared<Call>(
      index, MakeGenerateRequest(planned, one, model_.vocab_size, prompts_),
      cancel_at, *this, record);
}

void LoadRun::Send(const std::shared_ptr<Call>& call) {
  {
    absl::MutexLock lock(&mutex_);
    calls_[call->index()] = call;
  }
  ++counters_.sent;
  call->Start(connections_.Take());
  last_sent_ = Now();
  if (call->cancel_at().has_value()) {
    cancellations_.push({*call->cancel_at(), call->index()});
  }
}

void LoadRun::OnTokens(int64_t tokens, int64_t bits) {
  counters_.tokens += tokens;
  counters_.token_bits += bits;
}

void LoadRun::OnDone(size_t index, Connection* connection, Outcome outcome) {
  counters_.Count(outcome);
  std::shared_ptr<Call> call;  // Outlives the lock: its end takes a while.
  connections_.Release(connection);
  absl::MutexLock lock(&mutex_);
  const auto found = calls_.find(index);
  call = std::move(found->second);
  calls_.erase(found);
  changed_.Signal();
}

absl::Duration LoadRun::NextWake(absl::Duration time) const {
  return cancellations_.empty() ? time
                                : std::min(time, cancellations_.top().at);
}

void LoadRun::CancelDue() {
  while (!cancellations_.empty() && cancellations_.top().at <= Now()) {
    std::shared_ptr<Call> call;
    {
      absl::MutexLock lock(&mutex_);
      const auto found = calls_.find(cancellations_.top().index);
      if (found != calls_.end()) call = found->second;
    }
    cancellations_.pop();
    if (call != nullptr) call->Cancel(OwnCancel::kPlanned);
  }
}

void LoadRun::WaitUntil(absl::Duration time) {
  CancelDue();
  while (Now() < time) {
    absl::SleepFor(NextWake(time) - Now());
    CancelDue();
  }
}

bool LoadRun::WaitForFewerThan(size_t calls, absl::Duration give_up) {
  while (!HasFewerThan(calls)) {
    CancelDue();
    const absl::Duration left = NextWake(give_up) - Now();
    if (left <= absl::ZeroDuration() && Now() >= give_up) return false;
    absl::MutexLock lock(&mutex_);
    if (calls_.size() >= calls) changed_.WaitWithTimeout(&mutex_, left);
  }
  return true;
}

void LoadRun::GiveUpRest() {
  std::vector<std::shared_ptr<Call>> rest;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [index, call] : calls_) rest.push_back(call);
  }
  for (const std::shared_ptr<Call>& call : rest) {
    call->Cancel(OwnCancel::kGaveUp);
  }
}

std::vector<RequestRecord> LoadRun::Finish() {
  if (!WaitForFewerThan(1, last_sent_ + drain_timeout_)) {
    GiveUpRest();
    // gRPC ends every call that was cancelled.
    WaitForFewerThan(1, absl::InfiniteDuration());
  }
  // The last OnDone() may still hold the mutex.
  absl::MutexLock lock(&mutex_);
  return std::vector<RequestRecord>(std::make_move_iterator(records_.begin()),
                                    std::make_move_iterator(records_.end()));
}

}  // namespace anyprec::load
