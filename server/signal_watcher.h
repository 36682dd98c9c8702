// SIGTERM and SIGINT as events rather than interrupts.
//
// Until Defer() either ends the process at once; the first one after Defer()
// ends WaitFor(), and the second the process. This does not rest on a signal's
// default action, which process 1 of a container does not have.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_SIGNAL_WATCHER_H_
#define ANYPREC_SERVER_SIGNAL_WATCHER_H_

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace anyprec {

class SignalWatcher {
 public:
  // REQUIRES: the process has no other thread yet, as each inherits the mask
  // that keeps these signals from it; and no other SignalWatcher.
  SignalWatcher();
  ~SignalWatcher();

  void Defer();

  // Ends WaitFor() as a first signal does. A signal that comes after it counts
  // as the first all the same: a supervisor that stops what drains already
  // cuts nothing short.
  void Trigger();

  // True as soon as a signal has come or Trigger() was called, false when
  // `timeout` has passed.
  bool WaitFor(absl::Duration timeout);

 private:
  void Run();

  absl::Mutex mutex_;
  bool deferred_ ABSL_GUARDED_BY(mutex_) = false;
  bool received_ ABSL_GUARDED_BY(mutex_) = false;
  bool requested_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_SIGNAL_WATCHER_H_
