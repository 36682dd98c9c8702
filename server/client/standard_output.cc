#include "server/client/standard_output.h"

#include <cerrno>
#include <cstdio>

namespace anyprec {
namespace {

// Of the first write that failed: stdout itself only knows that there was one,
// and later ones may succeed.
int first_errno = 0;

void RememberFailure(bool succeeded) {
  if (!succeeded && first_errno == 0) first_errno = errno;
}

}  // namespace

void Print(absl::string_view text) {
  RememberFailure(std::fwrite(text.data(), 1, text.size(), stdout) ==
                  text.size());
}

absl::Status FlushOutput() {
  RememberFailure(std::fflush(stdout) == 0);
  return absl::ErrnoToStatus(first_errno, "stdout: cannot write");
}

}  // namespace anyprec
