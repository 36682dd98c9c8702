// One line for each request to generate or score, the refused ones included.
#ifndef ANYPREC_SERVER_ACCESS_LOG_H_
#define ANYPREC_SERVER_ACCESS_LOG_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

// What a line names a call by.
struct AccessedCall {
  absl::string_view id;
  absl::string_view rpc;
  absl::string_view traceparent;  // of the caller (TraceParentOf); may be empty
};

// "r17 Generate OK prompt=12 cached=0 prompt_bits=3:12 completion=64
//  bits=3:60,8:4 queue=0.1ms ttft=12.0ms tpot=3.10ms total=210.4ms", in one
// line, and after the status traceparent=... where there is one.
std::string AccessLogLine(const AccessedCall& call, const absl::Status& status,
                          const RequestStats& stats);

// Writes the line, at level info.
void LogAccess(const AccessedCall& call, const absl::Status& status,
               const RequestStats& stats);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_ACCESS_LOG_H_
