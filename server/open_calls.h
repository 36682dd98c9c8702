// How many calls gRPC still holds, so that a server can wait for the last.
//
// A connection is closed as soon as its last call has been written, and what
// the client has not received by then may be lost with it. One that is asked to
// close while it carries no call first has the client confirm all that came
// before. So a server that drains awaits its calls, and only then shuts down.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_OPEN_CALLS_H_
#define ANYPREC_SERVER_OPEN_CALLS_H_

#include <condition_variable>
#include <memory>
#include <mutex>

#include "absl/time/time.h"

namespace anyprec {

class OpenCalls {
 public:
  struct Leaver {
    void operator()(OpenCalls* calls) const { calls->Leave(); }
  };
  // One call, which is open until this is destroyed.
  using Entry = std::unique_ptr<OpenCalls, Leaver>;

  // The result must not outlive this object.
  Entry Enter();

  // Waits until no call is open, at most until `deadline`. Whether none is.
  bool AwaitNone(absl::Time deadline);

 private:
  void Leave();

  std::mutex mutex_;
  std::condition_variable none_;
  int open_ = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_OPEN_CALLS_H_
