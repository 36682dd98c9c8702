// One run of a plan over gRPC: the calls that are going on and their records.
//
// The sending thread calls Prepare(), Send(), the waits and Finish(); gRPC's
// threads come in through the calls. A record is written by its call alone
// until that is over.
#ifndef ANYPREC_TESTS_LOAD_LOAD_RUN_H_
#define ANYPREC_TESTS_LOAD_LOAD_RUN_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "tests/load/connection_pool.h"
#include "tests/load/load_driver.h"
#include "tests/load/record.h"
#include "tests/load/request_class.h"
#include "tests/load/workload.h"

namespace anyprec::load {

// Counts of the run that is going on. Thread-safe.
struct LoadCounters {
  std::atomic<int64_t> start_ns{0};
  std::atomic<int64_t> sent{0};
  std::atomic<int64_t> done{0};
  std::atomic<int64_t> answered{0};
  std::atomic<int64_t> refused{0};
  std::atomic<int64_t> failed{0};
  std::atomic<int64_t> cancelled{0};
  std::atomic<int64_t> tokens{0};
  std::atomic<int64_t> token_bits{0};

  void Reset(int64_t now_ns);
  void Count(Outcome outcome);
};

class Call;

class LoadRun {
 public:
  LoadRun(absl::Duration drain_timeout,
          const std::vector<RequestClass>& classes, const TargetModel& model,
          ConnectionPool& connections, LoadCounters& counters);

  absl::Duration Now() const {
    return absl::FromChrono(SteadyClock::now() - start_);
  }

  // Prepares a call; its record is the next one.
  std::shared_ptr<Call> Prepare(const PlannedRequest& planned);
  void Send(const std::shared_ptr<Call>& call);

  // Sends planned cancellations that become due while waiting.
  void WaitUntil(absl::Duration time);
  // Until fewer than `calls` are going on, or it is `give_up`; whether it came
  // to that.
  bool WaitForFewerThan(size_t calls, absl::Duration give_up);

  // Waits for all calls, gives the rest up, and hands the records over.
  std::vector<RequestRecord> Finish();

  // For calls.
  void OnTokens(int64_t tokens, int64_t bits);
  void OnDone(size_t index, Connection* connection, Outcome outcome);

 private:
  using SteadyClock = std::chrono::steady_clock;

  struct Cancellation {
    absl::Duration at;
    size_t index;
    bool operator>(const Cancellation& other) const { return at > other.at; }
  };

  void CancelDue();
  void GiveUpRest();
  // `time`, or that of the next cancellation where it is sooner.
  absl::Duration NextWake(absl::Duration time) const;
  bool HasFewerThan(size_t calls) const {
    absl::MutexLock lock(&mutex_);
    return calls_.size() < calls;
  }

  const absl::Duration drain_timeout_;
  const std::vector<RequestClass>& classes_;
  const TargetModel& model_;
  ConnectionPool& connections_;
  LoadCounters& counters_;
  const SteadyClock::time_point start_;
  const uint64_t prompts_;  // differs from run to run

  // Of the sending thread alone. A deque: calls hold references to elements.
  std::deque<RequestRecord> records_;
  std::priority_queue<Cancellation, std::vector<Cancellation>, std::greater<>>
      cancellations_;
  absl::Duration last_sent_;

  mutable absl::Mutex mutex_;
  absl::CondVar changed_;  // a call ended
  absl::flat_hash_map<size_t, std::shared_ptr<Call>> calls_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_LOAD_RUN_H_
