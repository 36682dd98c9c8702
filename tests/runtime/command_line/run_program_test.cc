#include "runtime/command_line/run_program.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

namespace anyprec {
namespace {

TEST(RunProgramTest, ReturnsTheExitCode) {
  EXPECT_EQ(RunProgram("tool", [] { return kExitDone; }), kExitDone);
  EXPECT_EQ(RunProgram("tool", [] { return kExitWrongFlags; }),
            kExitWrongFlags);
}

// Runs a program that throws `error`, on a thread of its own, as gtest would
// catch it. Then a thread that it has started must not get in the way.
template <typename Error>
void RunToThrow(const Error& error) {
  std::thread([&] {
    RunProgram("tool", [&]() -> int {
      std::vector<std::thread> pool;
      pool.emplace_back([] { pause(); });
      throw error;
    });
  }).join();
}

TEST(RunProgramDeathTest, ExplainsThatMemoryIsOut) {
  EXPECT_EXIT(RunToThrow(std::bad_alloc()),
              testing::ExitedWithCode(kExitFailed), "tool: out of memory");
}

TEST(RunProgramDeathTest, ExplainsWhatAnotherThreadThrows) {
  EXPECT_EXIT(RunProgram("tool",
                         [] {
                           std::thread([] { throw std::bad_alloc(); }).join();
                           return kExitDone;
                         }),
              testing::ExitedWithCode(kExitFailed), "tool: out of memory");
}

TEST(RunProgramDeathTest, ExplainsThatNoThreadCanStart) {
  EXPECT_EXIT(RunToThrow(std::system_error(std::make_error_code(
                  std::errc::resource_unavailable_try_again))),
              testing::ExitedWithCode(kExitFailed), "tool: .*unavailable");
}

TEST(RunProgramDeathTest, LeavesMistakesOfOurOwnToTheDebugger) {
  EXPECT_EXIT(RunToThrow(std::logic_error("ours")),
              testing::KilledBySignal(SIGABRT), "");
}

TEST(RunProgramDeathTest, FailsWhereStdoutTakesNothing) {
  EXPECT_EXIT(
      {
        if (std::freopen("/dev/full", "w", stdout) == nullptr) std::abort();
        std::exit(RunProgram("tool", [] {
          std::printf("found\n");
          return kExitDone;
        }));
      },
      testing::ExitedWithCode(kExitFailed),
      "tool: cannot write to stdout: No space left");
}

}  // namespace
}  // namespace anyprec
