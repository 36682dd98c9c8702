#include "server/field_violations.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/status_conversion.h"

namespace anyprec {
namespace {

// The status carries these texts twice, once in percent encoding, which may
// triple them, and once in base64.
constexpr size_t kMaxBytes = 1000;

}  // namespace

void FieldViolations::Add(absl::string_view field,
                          absl::string_view description) {
  ++size_;
  const size_t bytes = field.size() + description.size();
  if (bytes_ + bytes > kMaxBytes) return;
  bytes_ += bytes;
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
  const int untold = size() - bad_request_.field_violations_size();
  if (untold > 0) absl::StrAppend(&message, "; and ", untold, " more");
  absl::Status status = absl::InvalidArgumentError(message);
  AttachDetail(bad_request_, status);
  return status;
}

}  // namespace anyprec
