#include "server/client/commands.h"

#include <cstdio>
#include <iostream>
#include <iterator>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"
#include "server/client/standard_output.h"
#include "server/client/utf8_check.h"
#include "server/host_port.h"

namespace anyprec {
namespace {

absl::StatusOr<std::vector<std::string>> ParseFlags(
    std::span<const std::string> arguments, const CommonFlags& common,
    FlagSet& flags) {
  RETURN_IF_ERROR(RequireUtf8Arguments(arguments));
  ASSIGN_OR_RETURN(std::vector<std::string> words, flags.Parse(arguments));
  // Written so that NaN is refused too.
  if (common.timeout_ms.has_value() && !(*common.timeout_ms >= 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--timeout_ms is ", *common.timeout_ms, "; must be at least 0"));
  }
  if (!common.help) {
    RETURN_IF_ERROR(CheckHostPort("address", common.address));
  }
  return words;
}

}  // namespace

std::optional<std::vector<std::string>> ParseArguments(
    std::span<const std::string> arguments, const char* usage,
    const CommonFlags& common, FlagSet& flags, int& exit_code) {
  const bool short_help = !arguments.empty() && arguments[0] == "-h";
  const absl::StatusOr<std::vector<std::string>> words =
      ParseFlags(arguments, common, flags);
  if (!words.ok()) {
    exit_code = ReportWrongUsage(words.status().message());
    return std::nullopt;
  }
  if (common.help || short_help) {
    Print(absl::StrCat(usage, "\n\nFlags:\n", flags.Help()));
    exit_code = kExitOk;
    return std::nullopt;
  }
  return *words;
}

absl::StatusOr<std::string> TextOrStdin(const std::vector<std::string>& words) {
  if (!words.empty()) return absl::StrJoin(words, " ");
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  if (!text.empty() && text.back() == '\n') text.pop_back();
  RETURN_IF_ERROR(RequireUtf8("stdin", text));
  return text;
}

int ReportWrongUsage(absl::string_view message) {
  std::fprintf(stderr, "anyprec: %s\nTry --help.\n",
               std::string(message).c_str());
  return kExitWrongUsage;
}

}  // namespace anyprec
