// A thread that does one thing again and again.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_TICKER_THREAD_H_
#define ANYPREC_SERVER_TICKER_THREAD_H_

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace anyprec {

class TickerThread {
 public:
  // Runs `tick` first after `period`, and again `period` after it returned.
  TickerThread(absl::Duration period, std::function<void()> tick);
  // Waits for a tick that runs.
  ~TickerThread();

 private:
  void Run();

  const absl::Duration period_;
  const std::function<void()> tick_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: starts when all else is there
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_TICKER_THREAD_H_
