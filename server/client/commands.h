// The subcommands of `anyprec`. Each takes the arguments that follow its name
// and returns the process's exit code.
#ifndef ANYPREC_SERVER_CLIENT_COMMANDS_H_
#define ANYPREC_SERVER_CLIENT_COMMANDS_H_

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/command_line/flag_set.h"
#include "server/client/connection.h"

namespace anyprec {

int RunGenerate(std::span<const std::string> arguments);
int RunChat(std::span<const std::string> arguments);
int RunScore(std::span<const std::string> arguments);
int RunTokenize(std::span<const std::string> arguments);
int RunDetokenize(std::span<const std::string> arguments);
int RunModel(std::span<const std::string> arguments);
int RunAdmin(std::span<const std::string> arguments);

// What all commands do with their arguments: parses them into `flags` and
// returns the words that are no flags. nullopt where the command is over, with
// `exit_code`: --help was asked for, or -h in the first place, and `usage`
// printed; or a flag is wrong, or an argument is no UTF-8.
std::optional<std::vector<std::string>> ParseArguments(
    std::span<const std::string> arguments, const char* usage,
    const CommonFlags& common, FlagSet& flags, int& exit_code);

// The words, joined; without words all of stdin, less its last newline, or an
// error where that is no UTF-8.
absl::StatusOr<std::string> TextOrStdin(const std::vector<std::string>& words);

// Says what is wrong with the arguments. Returns kExitWrongUsage.
int ReportWrongUsage(absl::string_view message);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_CLIENT_COMMANDS_H_
