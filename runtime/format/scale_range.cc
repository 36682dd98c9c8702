#include "runtime/format/scale_range.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "kernels/largest_weight.h"

namespace anyprec {

absl::Status CheckScaleRange(const GroupScales& scales, int row_groups,
                             absl::string_view where) {
  const size_t precision = scales.precision;
  for (size_t i = 0; i < scales.beta.size(); ++i) {
    const float largest = LargestWeight(
        scales.alpha.subspan(i * precision, precision), scales.beta[i]);
    if (largest > kLargestFloat16) {
      return absl::DataLossError(
          absl::StrCat(where, ": row ", i / row_groups, ", group ",
                       i % row_groups, " adds up to ", largest,
                       " with its beta, needed is at most ", kLargestFloat16));
    }
  }
  return absl::OkStatus();
}

}  // namespace anyprec
