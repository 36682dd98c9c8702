// Where log lines go: stderr, ours and gRPC's alike.
#ifndef ANYPREC_SERVER_LOGGING_H_
#define ANYPREC_SERVER_LOGGING_H_

#include <string>

namespace anyprec {

// `level` is "debug", "info", "warn" or "error". Call once, before gRPC starts.
void SetUpLogging(const std::string& level);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_LOGGING_H_
