// A file that tells scripts which port a server took.
#ifndef ANYPREC_SERVER_PORT_FILE_H_
#define ANYPREC_SERVER_PORT_FILE_H_

#include <string>

#include "absl/status/status.h"

namespace anyprec {

// Whether WritePortFile() will be able to, as far as can be known. `flag` is
// what named `path`, for the message; an empty path is none, and fine. Both
// return UNAVAILABLE.
absl::Status CheckPortFile(const char* flag, const std::string& path);

// Renamed into place, so that a reader never sees half a number.
absl::Status WritePortFile(const char* flag, const std::string& path, int port);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_PORT_FILE_H_
