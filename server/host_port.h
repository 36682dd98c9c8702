// Addresses to listen on.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_HOST_PORT_H_
#define ANYPREC_SERVER_HOST_PORT_H_

#include <string>

#include "absl/status/status.h"

namespace anyprec {

// "127.0.0.1:50051", "[::1]:50051"
std::string JoinHostPort(const std::string& host, int port);

// Binds `host`:`port` and lets go of it again, for libraries that do not tell
// why they could not: UNAVAILABLE does.
absl::Status TryBind(const std::string& host, int port);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_HOST_PORT_H_
