// A client of grpc.health.v1, for container health checks: the image then needs
// no other program.
#ifndef ANYPREC_SERVER_HEALTH_PROBE_H_
#define ANYPREC_SERVER_HEALTH_PROBE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace anyprec {

// OK where the server at `address` ("127.0.0.1:50051") says that it serves.
// Otherwise why not.
absl::Status ProbeHealth(const std::string& address, absl::Duration timeout);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_HEALTH_PROBE_H_
