// One thread that moves finished tokens from the engine to gRPC.
//
// The engine's thread must not spend its time in sockets, and hundreds of
// streams must not need a thread each: streams that became ready are queued
// here, and this thread takes their output and starts the writes.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_DELIVERY_THREAD_H_
#define ANYPREC_SERVER_DELIVERY_THREAD_H_

#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"

namespace anyprec {

class DeliveryThread {
 public:
  DeliveryThread();
  // Runs what was posted before, then ends.
  ~DeliveryThread();

  // Runs `task` soon, after those posted earlier. Never blocks.
  void Post(absl::AnyInvocable<void()> task);

 private:
  void Run();

  absl::Mutex mutex_;
  std::vector<absl::AnyInvocable<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_DELIVERY_THREAD_H_
