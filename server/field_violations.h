// Collects what is wrong with a request, field by field, so that a client
// learns of all its mistakes at once.
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

  int size() const { return bad_request_.field_violations_size(); }

  // OK where nothing was added. Otherwise INVALID_ARGUMENT, whose message holds
  // every violation and whose payload is a google.rpc.BadRequest.
  absl::Status ToStatus() const;

 private:
  google::rpc::BadRequest bad_request_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_FIELD_VIOLATIONS_H_
