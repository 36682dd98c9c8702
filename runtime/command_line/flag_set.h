// Command-line flags that fill an options struct.
//
// A value may come from the command line or from a JSON config file with the
// same names; both go through Set(), so both give the same errors. Unlike
// absl's flags these are no globals: a program with subcommands makes one set
// for each, and the caller decides how to exit.
//
//   FlagSet flags;
//   flags.Add("port", &options.port, "TCP port; 0 takes a free one");
//   ASSIGN_OR_RETURN(positional, flags.Parse(arguments));
//
// Thread-compatible.
#ifndef ANYPREC_RUNTIME_COMMAND_LINE_FLAG_SET_H_
#define ANYPREC_RUNTIME_COMMAND_LINE_FLAG_SET_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace anyprec {

class FlagSet {
 public:
  // A vector takes one element from each occurrence of its flag.
  using Target =
      std::variant<bool*, int*, double*, std::string*, std::optional<int>*,
                   std::optional<double>*, std::optional<uint64_t>*,
                   std::optional<std::string>*, std::vector<std::string>*>;

  // What `target` holds is the default. Where `choices` are given, the value
  // must be one of them. `target` must outlive this object.
  void Add(absl::string_view name, Target target, absl::string_view help,
           std::vector<std::string> choices = {});

  // INVALID_ARGUMENT names the flag, the value and what is allowed; an unknown
  // flag's message names the nearest known one.
  absl::Status Set(absl::string_view name, absl::string_view value);

  // Takes --name=value, --name value, --bool and --nobool, up to "--"; returns
  // all other arguments in order.
  absl::StatusOr<std::vector<std::string>> Parse(
      std::span<const std::string> arguments);

  // Sets flags from a JSON object; lists set vectors. Errors name `source`,
  // which is the file that `json` comes from.
  absl::Status SetFromJson(absl::string_view json, absl::string_view source);

  // One paragraph for each flag, with its default.
  std::string Help() const;

 private:
  struct Flag {
    std::string name;
    Target target;
    std::string help;
    std::string default_value;
    std::vector<std::string> choices;
  };

  Flag* Find(absl::string_view name);
  absl::Status UnknownFlagError(absl::string_view name) const;

  std::vector<Flag> flags_;
};

// INVALID_ARGUMENT where `value` is not in [low, high]; a NaN is in no range.
template <typename T>
absl::Status CheckFlagRange(absl::string_view flag, T value, T low, T high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--", flag, " is ", value, "; must be in [", low, ", ", high, "]"));
}

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_COMMAND_LINE_FLAG_SET_H_
