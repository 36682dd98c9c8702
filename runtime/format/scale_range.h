// What a parent model's scales must keep to beyond being finite (FORMAT.md).
#ifndef ANYPREC_RUNTIME_FORMAT_SCALE_RANGE_H_
#define ANYPREC_RUNTIME_FORMAT_SCALE_RANGE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "kernels/bit_plane.h"

namespace anyprec {

// That no code of any group means a weight beyond fp16. DATA_LOSS begins with
// `where` and names row and group, one of `row_groups` in a row.
absl::Status CheckScaleRange(const GroupScales& scales, int row_groups,
                             absl::string_view where);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_SCALE_RANGE_H_
