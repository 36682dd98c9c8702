// Runs plans against a server over gRPC.
//
// One thread sends: it prepares each request before its time and starts it then
// without waiting for anything, on gRPC's callback API; gRPC's own threads
// receive. Times are of a steady clock, read when a message is handed to us.
//
// Guarantees: a record for each request; at the end no call is left. Those
// without an outcome `drain_timeout` after the last arrival are ended and
// recorded as lost.
#ifndef ANYPREC_TESTS_LOAD_LOAD_CLIENT_H_
#define ANYPREC_TESTS_LOAD_LOAD_CLIENT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/load/load_driver.h"
#include "tests/load/request_class.h"

namespace anyprec::load {

struct LoadClientOptions {
  std::string target;   // HOST:PORT
  int connections = 4;  // opened before the first run, at least 1
  absl::Duration connect_timeout = absl::Seconds(10);
  absl::Duration drain_timeout = absl::Seconds(60);
};

// Connects and asks for the model. The gRPC code and message of the server
// that cannot be reached or does not answer.
absl::StatusOr<std::unique_ptr<LoadDriver>> NewLoadClient(
    const LoadClientOptions& options, std::vector<RequestClass> classes);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_LOAD_CLIENT_H_
