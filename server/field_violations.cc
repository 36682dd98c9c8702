#include "server/field_violations.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/status_conversion.h"

namespace anyprec {

void FieldViolations::Add(absl::string_view field,
                          absl::string_view description) {
  auto* violation = bad_request_.add_field_violations();
  violation->set_field(std::string(field));
  violation->set_description(std::string(description));
}

absl::Status FieldViolations::ToStatus() const {
  if (size() == 0) return absl::OkStatus();
  std::string message;
  for (const auto& violation : bad_request_.field_violations()) {
    absl::StrAppend(&message, message.empty() ? "" : "; ", violation.field(),
                    ": ", violation.description());
  }
  absl::Status status = absl::InvalidArgumentError(message);
  AttachDetail(bad_request_, status);
  return status;
}

}  // namespace anyprec
