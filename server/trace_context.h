// The caller's place in a distributed trace (W3C Trace Context).
#ifndef ANYPREC_SERVER_TRACE_CONTEXT_H_
#define ANYPREC_SERVER_TRACE_CONTEXT_H_

#include <grpcpp/server_context.h>

#include <string>

#include "absl/strings/string_view.h"

namespace anyprec {

// version-traceid-parentid-flags of a `traceparent` header (section 3.2), of a
// later version without what that may add; nothing where the header is not well
// formed, which the standard wants ignored.
absl::string_view ParseTraceParent(absl::string_view header);

// As the call's metadata say; empty where they do not.
std::string TraceParentOf(const grpc::CallbackServerContext& context);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_TRACE_CONTEXT_H_
