#include "tests/load/load_driver.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"

namespace anyprec::load {
namespace {

absl::Status CheckBits(const RequestClass& one, const char* key,
                       std::optional<int> bits, const TargetModel& model) {
  if (!bits.has_value() || std::find(model.bits.begin(), model.bits.end(),
                                     *bits) != model.bits.end()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("class ", one.name, ": ", key, " is ", *bits, "; ",
                   model.name, " has ", absl::StrJoin(model.bits, ", ")));
}

}  // namespace

absl::Status CheckPrecisions(const std::vector<RequestClass>& classes,
                             const TargetModel& model) {
  for (const RequestClass& one : classes) {
    RETURN_IF_ERROR(CheckBits(one, "fixed_bits", one.fixed_bits, model));
    // Beside fixed_bits the floor is only judged by, not asked for.
    if (one.fixed_bits.has_value()) continue;
    RETURN_IF_ERROR(CheckBits(one, "min_bits", one.min_bits, model));
    RETURN_IF_ERROR(CheckBits(one, "max_bits", one.max_bits, model));
  }
  return absl::OkStatus();
}

}  // namespace anyprec::load
