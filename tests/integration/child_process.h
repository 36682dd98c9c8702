// A program that a test starts, and what it says.
//
// Thread-compatible.
#ifndef ANYPREC_TESTS_INTEGRATION_CHILD_PROCESS_H_
#define ANYPREC_TESTS_INTEGRATION_CHILD_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace anyprec {

class ChildProcess {
 public:
  // Starts `arguments`[0], a path below the test's runfiles. Its stderr goes to
  // a file, its stdout to ReadLine(), and its stdin is empty.
  explicit ChildProcess(const std::vector<std::string>& arguments);
  // Kills it if it still runs.
  ~ChildProcess();

  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Waits for the next line of stdout; "" at its end.
  std::string ReadLine();
  // Everything that stdout still brings.
  std::string ReadAll();

  void Signal(int signal_number);

  // Waits for the end. The exit code, or 128 + n where signal n ended it.
  int Wait();

  // What it wrote to stderr so far.
  std::string Errors() const;

 private:
  pid_t pid_ = -1;
  int exit_code_ = -1;  // once it has been waited for
  int stdout_ = -1;
  std::string buffer_;  // read from stdout, not yet returned
  std::string error_path_;
};

// Runs a program to its end.
struct Outcome {
  int exit_code = -1;
  std::string output;
  std::string errors;
};
Outcome RunToEnd(const std::vector<std::string>& arguments);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_INTEGRATION_CHILD_PROCESS_H_
