// Addresses to listen on, and to reach.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_HOST_PORT_H_
#define ANYPREC_SERVER_HOST_PORT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// "127.0.0.1:50051", "[::1]:50051"
std::string JoinHostPort(const std::string& host, int port);

// INVALID_ARGUMENT where `address` is not HOST:PORT with a port in [1, 65535];
// names `flag`. (gRPC takes a port modulo 65536.)
absl::Status CheckHostPort(absl::string_view flag, absl::string_view address);

// Binds `host`:`port` and lets go of it again, for libraries that do not tell
// why they could not: UNAVAILABLE does.
absl::Status TryBind(const std::string& host, int port);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_HOST_PORT_H_
