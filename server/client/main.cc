// anyprec: talks to an anyprec-server.
//
// Exit codes: 0 for success, 1 where the call failed or its output could not be
// written, 2 for wrong usage.

#include <grpc/support/log.h>

#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/client/commands.h"
#include "server/client/standard_output.h"
#include "server/version.h"

namespace anyprec {
namespace {

struct Command {
  const char* name;
  const char* summary;
  int (*run)(std::span<const std::string> arguments);
};

constexpr Command kCommands[] = {
    {"generate", "continue a text", RunGenerate},
    {"chat", "answer a message, or converse", RunChat},
    {"score", "log-likelihood and perplexity of a text", RunScore},
    {"tokenize", "token ids of a text", RunTokenize},
    {"detokenize", "text of token ids", RunDetokenize},
    {"model", "what is served, and what each precision costs", RunModel},
    {"admin", "statistics, limits, power budget, drain", RunAdmin},
};

void PrintUsage(std::FILE* out) {
  std::fprintf(out, "Usage: anyprec COMMAND [FLAGS] [TEXT]\n\n");
  for (const Command& command : kCommands) {
    std::fprintf(out, "  %-12s%s\n", command.name, command.summary);
  }
  std::fprintf(out, "\n`anyprec COMMAND --help` lists the flags.\n");
}

int RunCommand(const std::string& name,
               std::span<const std::string> arguments) {
  for (const Command& command : kCommands) {
    if (name == command.name) return command.run(arguments);
  }
  std::fprintf(stderr, "anyprec: there is no command \"%s\"\n\n", name.c_str());
  PrintUsage(stderr);
  return kExitWrongUsage;
}

int Run(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    PrintUsage(stderr);
    return kExitWrongUsage;
  }
  const std::string& name = arguments[0];
  if (name == "help" && arguments.size() > 1) {
    return RunCommand(arguments[1], std::vector<std::string>{"--help"});
  }
  if (name == "--help" || name == "-h" || name == "help") {
    PrintUsage(stdout);
    return kExitOk;
  }
  if (name == "--version") {
    std::printf("anyprec %s\n", kVersion);
    return kExitOk;
  }
  return RunCommand(name, std::span(arguments).subspan(1));
}

int Main(const std::vector<std::string>& arguments) {
  // A failed call is reported once, by us.
  gpr_set_log_function([](gpr_log_func_args*) {});
  const int exit_code = Run(arguments);
  const absl::Status written = FlushOutput();
  if (written.ok()) return exit_code;
  std::fprintf(stderr, "anyprec: %s\n", std::string(written.message()).c_str());
  return exit_code == kExitOk ? kExitFailure : exit_code;
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  return anyprec::Main(std::vector<std::string>(argv + 1, argv + argc));
}
