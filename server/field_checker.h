// FieldChecker: what the fields of a message may hold.
#ifndef ANYPREC_SERVER_FIELD_CHECKER_H_
#define ANYPREC_SERVER_FIELD_CHECKER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/field_violations.h"

namespace anyprec {

// Checks fields below one path and notes what is wrong. Borrows the violations.
// Thread-compatible.
class FieldChecker {
 public:
  FieldChecker(absl::string_view prefix, FieldViolations& violations)
      : prefix_(prefix), violations_(violations) {}

  FieldChecker Below(absl::string_view field) const {
    return FieldChecker(absl::StrCat(prefix_, field, "."), violations_);
  }

  void Fail(absl::string_view field, absl::string_view description) const {
    violations_.Add(absl::StrCat(prefix_, field), description);
  }

  // Fails, and gives the status of all that was noted.
  absl::Status Refuse(absl::string_view field,
                      absl::string_view description) const {
    Fail(field, description);
    return violations_.ToStatus();
  }

  // A NaN is in no range.
  template <typename T>
  void InRange(absl::string_view field, T value, T low, T high) const {
    if (value >= low && value <= high) return;
    Fail(field,
         absl::StrCat("is ", value, "; must be in [", low, ", ", high, "]"));
  }

  // Whether a list is short enough.
  bool AtMost(absl::string_view field, int size, int most) const {
    if (size <= most) return true;
    Fail(field, absl::StrCat("has ", size, " entries; may have ", most));
    return false;
  }

  template <typename T>
  void AboveZero(absl::string_view field, T value, T high) const {
    if (value > 0 && value <= high) return;
    Fail(field, absl::StrCat("is ", value, "; must be in (0, ", high, "]"));
  }

 private:
  std::string prefix_;
  FieldViolations& violations_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_FIELD_CHECKER_H_
