// One thread that moves finished tokens from the engine to gRPC.
//
// The engine's thread must not spend its time in sockets, and hundreds of
// streams must not need a thread each: streams that became ready are queued
// here, and this thread takes their output and starts the writes.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_DELIVERY_THREAD_H_
#define ANYPREC_SERVER_DELIVERY_THREAD_H_

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"

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

  // A standard mutex, as ThreadSanitizer does not see into those of a libabsl
  // that was built without it. Guards the next three.
  std::mutex mutex_;
  std::condition_variable posted_;
  std::vector<absl::AnyInvocable<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when all else is there
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_DELIVERY_THREAD_H_
