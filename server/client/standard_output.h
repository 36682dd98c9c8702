// What commands print. Texts of a model may hold NUL bytes, and scripts must
// hear of a disk that is full.
#ifndef ANYPREC_SERVER_CLIENT_STANDARD_OUTPUT_H_
#define ANYPREC_SERVER_CLIENT_STANDARD_OUTPUT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// All of `text`, to stdout. Failures are FlushOutput()'s to tell.
void Print(absl::string_view text);

// OK where everything printed so far has been written; else the first failure.
absl::Status FlushOutput();

}  // namespace anyprec

#endif  // ANYPREC_SERVER_CLIENT_STANDARD_OUTPUT_H_
