// absl::Status to grpc::Status: the one place where it happens.
//
// A detail (google.rpc.BadRequest, RetryInfo, ErrorInfo) travels through our
// code as a payload of the absl::Status and leaves in grpc-status-details-bin.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_STATUS_CONVERSION_H_
#define ANYPREC_SERVER_STATUS_CONVERSION_H_

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "google/rpc/status.pb.h"

namespace anyprec {

// Puts `detail` into `status`; one of each type.
void AttachDetail(const google::protobuf::Message& detail,
                  absl::Status& status);

// Says that a retry after `delay` may succeed, and why it did not now.
// `reason` is in UPPER_SNAKE_CASE.
void AttachRetry(absl::Duration delay, absl::string_view reason,
                 absl::Status& status);

// The reason that AttachRetry() gave, or "".
std::string AttachedReason(const absl::Status& status);

// Code, message and all details.
grpc::Status ToGrpcStatus(const absl::Status& status);

// What a client reads back: code, message and details. Where the status has no
// readable details, code and message only.
google::rpc::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_STATUS_CONVERSION_H_
