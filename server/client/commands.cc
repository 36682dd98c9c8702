#include "server/client/commands.h"

#include <cstdio>
#include <iostream>
#include <iterator>

#include "absl/status/statusor.h"
#include "absl/strings/str_join.h"

namespace anyprec {

std::optional<std::vector<std::string>> ParseArguments(
    std::span<const std::string> arguments, const char* usage,
    const CommonFlags& common, FlagSet& flags, int& exit_code) {
  const absl::StatusOr<std::vector<std::string>> words = flags.Parse(arguments);
  if (!words.ok()) {
    std::fprintf(stderr, "anyprec: %s\nTry --help.\n",
                 std::string(words.status().message()).c_str());
    exit_code = kExitWrongUsage;
    return std::nullopt;
  }
  if (common.help) {
    std::printf("%s\n\nFlags:\n%s", usage, flags.Help().c_str());
    exit_code = kExitOk;
    return std::nullopt;
  }
  return *words;
}

std::string TextOrStdin(const std::vector<std::string>& words) {
  if (!words.empty()) return absl::StrJoin(words, " ");
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace anyprec
