#include "runtime/command_line/run_program.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <system_error>

namespace anyprec {
namespace {

const char* program_name = "";

// Runs on the thread that threw. As nothing catches, its stack is not unwound:
// half a pool of threads, say, could not be destroyed. Allocates nothing.
[[noreturn]] void ExplainAndExit() {
  const std::exception_ptr error = std::current_exception();
  if (error == nullptr) std::abort();
  try {
    std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "%s: out of memory\n", program_name);
  } catch (const std::system_error& failure) {
    std::fprintf(stderr, "%s: out of a system resource: %s\n", program_name,
                 failure.what());
  } catch (...) {
    std::abort();  // our own mistake
  }
  _exit(kExitFailed);
}

}  // namespace

int RunProgram(const char* name, absl::FunctionRef<int()> body) {
  program_name = name;
  std::set_terminate(ExplainAndExit);
  // A file size limit is then an error of the write, which says so.
  std::signal(SIGXFSZ, SIG_IGN);
  const int exit_code = body();
  errno = 0;
  // An earlier flush may have failed where this one has nothing to write.
  if ((std::fflush(stdout) != 0 || std::ferror(stdout) != 0) &&
      exit_code == kExitDone) {
    std::fprintf(stderr, "%s: cannot write to stdout: %s\n", name,
                 std::strerror(errno == 0 ? EIO : errno));
    return kExitFailed;
  }
  return exit_code;
}

}  // namespace anyprec
