#include "tests/integration/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

#include "kernels/check.h"

namespace anyprec {
namespace {

std::string NewErrorPath() {
  static int count = 0;
  return ::testing::TempDir() + "/stderr." + std::to_string(getpid()) + "." +
         std::to_string(count++);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments)
    : error_path_(NewErrorPath()) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const int errors =
      open(error_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int input = open("/dev/null", O_RDONLY);
  int pipe_ends[2];
  ANYPREC_CHECK(errors >= 0 && input >= 0 && pipe2(pipe_ends, O_CLOEXEC) == 0)
      << "cannot set up " << arguments[0];
  pid_ = fork();
  ANYPREC_CHECK(pid_ >= 0) << "cannot fork";
  if (pid_ == 0) {
    dup2(input, STDIN_FILENO);
    dup2(pipe_ends[1], STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(pipe_ends[1]);
  close(errors);
  close(input);
  stdout_ = pipe_ends[0];
}

ChildProcess::~ChildProcess() {
  if (exit_code_ < 0) {
    Signal(SIGKILL);
    Wait();
  }
  close(stdout_);
}

std::string ChildProcess::ReadLine() {
  while (true) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    char bytes[4096];
    const ssize_t size = read(stdout_, bytes, sizeof(bytes));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return std::exchange(buffer_, "");
    buffer_.append(bytes, static_cast<size_t>(size));
  }
}

std::string ChildProcess::ReadAll() {
  std::string all;
  while (true) {
    char bytes[4096];
    const ssize_t size = read(stdout_, bytes, sizeof(bytes));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return std::exchange(buffer_, "") + all;
    all.append(bytes, static_cast<size_t>(size));
  }
}

void ChildProcess::Signal(int signal_number) { kill(pid_, signal_number); }

int ChildProcess::Wait() {
  if (exit_code_ >= 0) return exit_code_;
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  exit_code_ =
      WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return exit_code_;
}

std::string ChildProcess::Errors() const {
  std::ostringstream content;
  content << std::ifstream(error_path_).rdbuf();
  return content.str();
}

Outcome RunToEnd(const std::vector<std::string>& arguments) {
  ChildProcess child(arguments);
  Outcome outcome;
  outcome.output = child.ReadAll();
  outcome.exit_code = child.Wait();
  outcome.errors = child.Errors();
  return outcome;
}

}  // namespace anyprec
