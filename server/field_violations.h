// Collects what is wrong with a request, field by field, so that a client
// learns of its mistakes at once: of the first ones, as all of it travels in
// gRPC's trailers, which clients cut off at 8 KiB.
//
// Thread-compatible.
#ifndef ANYPREC_SERVER_FIELD_VIOLATIONS_H_
#define ANYPREC_SERVER_FIELD_VIOLATIONS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/rpc/error_details.pb.h"

namespace anyprec {

class FieldViolations {
 public:
  // `field` is the path from the request's root ("sampling.top_p");
  // `description` names the value found and the values allowed.
  void Add(absl::string_view field, absl::string_view description);

  // All that were added, told or not.
  int size() const { return size_; }

  // OK where nothing was added. Otherwise INVALID_ARGUMENT, whose message holds
  // the first violations and whose payload is a google.rpc.BadRequest of them.
  absl::Status ToStatus() const;

 private:
  google::rpc::BadRequest bad_request_;
  size_t bytes_ = 0;  // of its texts
  int size_ = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_FIELD_VIOLATIONS_H_
