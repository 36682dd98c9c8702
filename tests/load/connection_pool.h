// Connections to one server, with calls spread over them.
//
// A server bounds the calls of one connection, and gRPC would hold back further
// ones without a word, which would look like a slow server. So a connection
// gets kMaxCallsPerConnection at most, and new ones are opened as needed.
//
// Thread-safe but for the constructor and Connect().
#ifndef ANYPREC_TESTS_LOAD_CONNECTION_POOL_H_
#define ANYPREC_TESTS_LOAD_CONNECTION_POOL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "anyprec/v1/inference_service.grpc.pb.h"

namespace anyprec::load {

// Half of what our server takes.
inline constexpr int kMaxCallsPerConnection = 512;

struct Connection {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::InferenceService::Stub> stub;
  int calls = 0;  // going on; the pool's
};

// Channels outlive it, up to the end of the process; one pool at a time.
class ConnectionPool {
 public:
  // `target` is HOST:PORT.
  explicit ConnectionPool(std::string target) : target_(std::move(target)) {}

  // Opens `connections`. UNAVAILABLE where one takes longer than `timeout`.
  absl::Status Connect(int connections, absl::Duration timeout);

  // The connection with the fewest calls, for one more. Lives as long as the
  // pool.
  Connection* Take();
  // A call that Take() was for has ended.
  void Release(Connection* connection);

 private:
  const std::string target_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Connection>> connections_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_CONNECTION_POOL_H_
