#include "runtime/command_line/flag_set.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <type_traits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kernels/status_macros.h"
#include "runtime/format/json.h"

namespace anyprec {
namespace {

constexpr size_t kHelpIndent = 6;
constexpr size_t kHelpWidth = 78;

bool ParseValue(absl::string_view text, bool* value) {
  return absl::SimpleAtob(text, value);
}
bool ParseValue(absl::string_view text, int* value) {
  return absl::SimpleAtoi(text, value);
}
bool ParseValue(absl::string_view text, uint64_t* value) {
  return absl::SimpleAtoi(text, value);
}
bool ParseValue(absl::string_view text, double* value) {
  return absl::SimpleAtod(text, value);
}
bool ParseValue(absl::string_view text, std::string* value) {
  *value = std::string(text);
  return true;
}
bool ParseValue(absl::string_view text, std::vector<std::string>* value) {
  value->emplace_back(text);
  return true;
}
template <typename T>
bool ParseValue(absl::string_view text, std::optional<T>* value) {
  return ParseValue(text, &value->emplace());
}

const char* TypeName(const FlagSet::Target& target) {
  return std::visit(
      [](auto* value) {
        using T = std::remove_reference_t<decltype(*value)>;
        if constexpr (std::is_same_v<T, bool>) return "true or false";
        if constexpr (std::is_same_v<T, int> ||
                      std::is_same_v<T, std::optional<int>>) {
          return "an integer";
        }
        if constexpr (std::is_same_v<T, std::optional<uint64_t>>) {
          return "an integer of at least 0";
        }
        if constexpr (std::is_same_v<T, double> ||
                      std::is_same_v<T, std::optional<double>>) {
          return "a number";
        }
        return "a text";
      },
      target);
}

std::string Printed(bool value) { return value ? "true" : "false"; }
std::string Printed(int value) { return absl::StrCat(value); }
std::string Printed(double value) { return absl::StrCat(value); }
std::string Printed(const std::string& value) { return value; }
template <typename T>
std::string Printed(const T&) {
  return "";  // Optionals and vectors are empty by default.
}

// How many letters must be inserted, removed or replaced.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1] ? 1 : 0);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

void AppendWrapped(absl::string_view text, std::string* out) {
  size_t column = kHelpWidth;
  for (absl::string_view word : absl::StrSplit(text, ' ')) {
    if (column + 1 + word.size() > kHelpWidth) {
      absl::StrAppend(out, "\n", std::string(kHelpIndent, ' '), word);
      column = kHelpIndent + word.size();
    } else {
      absl::StrAppend(out, " ", word);
      column += 1 + word.size();
    }
  }
}

// By reference only: copying or printing a value of great depth would overflow
// the stack.
absl::StatusOr<std::string> PlainValue(absl::string_view key,
                                       const nlohmann::json& value) {
  if (value.is_structured()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is a JSON ",
                                                   value.type_name(),
                                                   "; must be a plain value"));
  }
  std::string text =
      value.is_string() ? value.get<std::string>() : value.dump();
  // As on a command line, which cannot have one; paths would end there.
  if (absl::StrContains(text, '\0')) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", key, "\" is \"", absl::CHexEscape(text), "\", with a NUL"));
  }
  return text;
}

}  // namespace

void FlagSet::Add(absl::string_view name, Target target, absl::string_view help,
                  std::vector<std::string> choices) {
  std::string default_value =
      std::visit([](auto* value) { return Printed(*value); }, target);
  flags_.push_back({std::string(name), target, std::string(help),
                    std::move(default_value), std::move(choices)});
}

FlagSet::Flag* FlagSet::Find(absl::string_view name) {
  for (Flag& flag : flags_) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

absl::Status FlagSet::UnknownFlagError(absl::string_view name) const {
  // Two slips of the finger, and never a wholly different short name.
  size_t nearest_distance = std::min<size_t>(3, name.size());
  std::string hint;
  for (const Flag& flag : flags_) {
    const size_t distance = EditDistance(name, flag.name);
    if (distance < nearest_distance) {
      nearest_distance = distance;
      hint = absl::StrCat("; did you mean --", flag.name, "?");
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown flag --", name, hint));
}

absl::Status FlagSet::Set(absl::string_view name, absl::string_view value) {
  Flag* flag = Find(name);
  if (flag == nullptr) return UnknownFlagError(name);
  if (!flag->choices.empty() &&
      std::find(flag->choices.begin(), flag->choices.end(), value) ==
          flag->choices.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, " is \"", value, "\"; must be one of ",
                     absl::StrJoin(flag->choices, ", ")));
  }
  if (!std::visit([value](auto* target) { return ParseValue(value, target); },
                  flag->target)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--", name, " is \"", value, "\"; must be ", TypeName(flag->target)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FlagSet::Parse(
    std::span<const std::string> arguments) {
  std::vector<std::string> positional;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      positional.insert(positional.end(), arguments.begin() + i + 1,
                        arguments.end());
      break;
    }
    if (!absl::StartsWith(argument, "--")) {
      positional.push_back(argument);
      continue;
    }
    const std::pair<std::string, std::string> parts = absl::StrSplit(
        absl::string_view(argument).substr(2), absl::MaxSplits('=', 1));
    const std::string& name = parts.first;
    if (absl::StrContains(argument, '=')) {
      RETURN_IF_ERROR(Set(name, parts.second));
      continue;
    }
    const Flag* flag = Find(name);
    if (flag == nullptr && absl::StartsWith(name, "no")) {
      const Flag* negated = Find(absl::string_view(name).substr(2));
      if (negated != nullptr &&
          std::holds_alternative<bool*>(negated->target)) {
        RETURN_IF_ERROR(Set(negated->name, "false"));
        continue;
      }
    }
    if (flag == nullptr) return UnknownFlagError(name);
    if (std::holds_alternative<bool*>(flag->target)) {
      RETURN_IF_ERROR(Set(name, "true"));
    } else if (i + 1 < arguments.size()) {
      RETURN_IF_ERROR(Set(name, arguments[++i]));
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, " needs a value"));
    }
  }
  return positional;
}

absl::Status FlagSet::SetFromJson(absl::string_view json,
                                  absl::string_view source) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(json, source));
  for (const auto& item : object.items()) {
    const Flag* const flag = Find(item.key());
    if (flag == nullptr) {
      std::vector<std::string> names;
      for (const Flag& known : flags_) names.push_back(known.name);
      return absl::InvalidArgumentError(
          absl::StrCat(source, ": unknown key \"", item.key(),
                       "\"; known keys are ", absl::StrJoin(names, ", ")));
    }
    const auto set = [&](const nlohmann::json& plain) -> absl::Status {
      ASSIGN_OR_RETURN(const std::string text, PlainValue(item.key(), plain));
      return Set(item.key(), text);
    };
    const bool takes_list =
        std::holds_alternative<std::vector<std::string>*>(flag->target);
    absl::Status status;
    if (takes_list && item.value().is_array()) {
      for (const nlohmann::json& element : item.value()) {
        status.Update(set(element));
      }
    } else {
      status = set(item.value());
    }
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(source, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

std::string FlagSet::Help() const {
  std::string out;
  for (const Flag& flag : flags_) {
    absl::StrAppend(&out, "  --", flag.name);
    if (!flag.choices.empty()) {
      absl::StrAppend(&out, "=", absl::StrJoin(flag.choices, "|"));
    }
    if (!flag.default_value.empty()) {
      absl::StrAppend(&out, "  (default: ", flag.default_value, ")");
    }
    AppendWrapped(flag.help, &out);
    absl::StrAppend(&out, "\n");
  }
  return out;
}

}  // namespace anyprec
