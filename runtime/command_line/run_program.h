// The frame of a program that runs to its end and prints what it found.
#ifndef ANYPREC_RUNTIME_COMMAND_LINE_RUN_PROGRAM_H_
#define ANYPREC_RUNTIME_COMMAND_LINE_RUN_PROGRAM_H_

#include "absl/functional/function_ref.h"

namespace anyprec {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitWrongFlags = 2;

// Calls `body` and returns its exit code; kExitFailed where that is kExitDone
// but stdout did not take all that was printed.
//
// Where memory or threads run out, on whatever thread, the process says so on
// stderr and exits with kExitFailed at once, as the standard library has no
// other way to tell us.
int RunProgram(const char* name, absl::FunctionRef<int()> body);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_COMMAND_LINE_RUN_PROGRAM_H_
