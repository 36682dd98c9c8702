#include "tests/load/requirements.h"

#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status_macros.h"
#include "tests/load/metrics.h"

namespace anyprec::load {
namespace {

struct Operator {
  absl::string_view text;
  Comparison comparison;
};

// The longer ones first: "<" begins "<=".
constexpr Operator kOperators[] = {{"<=", Comparison::kAtMost},
                                   {">=", Comparison::kAtLeast},
                                   {"==", Comparison::kEqual},
                                   {"<", Comparison::kLess},
                                   {">", Comparison::kMore}};

absl::StatusOr<Requirement> ParseRequirement(absl::string_view text) {
  const size_t at = text.find_first_of("<>=");
  if (at != absl::string_view::npos) {
    for (const Operator& candidate : kOperators) {
      if (text.substr(at, candidate.text.size()) != candidate.text) continue;
      Requirement result;
      result.text = std::string(text);
      result.metric =
          std::string(absl::StripAsciiWhitespace(text.substr(0, at)));
      result.comparison = candidate.comparison;
      const absl::string_view bound = text.substr(at + candidate.text.size());
      if (!result.metric.empty() && absl::SimpleAtod(bound, &result.bound) &&
          std::isfinite(result.bound)) {
        return result;
      }
      break;
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", absl::CEscape(text),
      "\" is no requirement; must be METRIC<NUMBER, or with <=, >, >= or =="));
}

bool Holds(double value, Comparison comparison, double bound) {
  switch (comparison) {
    case Comparison::kLess:
      return value < bound;
    case Comparison::kAtMost:
      return value <= bound;
    case Comparison::kMore:
      return value > bound;
    case Comparison::kAtLeast:
      return value >= bound;
    case Comparison::kEqual:
      break;
  }
  return value == bound;
}

}  // namespace

absl::StatusOr<std::vector<Requirement>> ParseRequirements(
    absl::string_view list) {
  std::vector<Requirement> requirements;
  for (const absl::string_view part : absl::StrSplit(list, ',')) {
    ASSIGN_OR_RETURN(Requirement requirement,
                     ParseRequirement(absl::StripAsciiWhitespace(part)));
    requirements.push_back(std::move(requirement));
  }
  return requirements;
}

absl::Status CheckNames(const std::vector<Requirement>& requirements,
                        const nlohmann::json& metrics) {
  for (const Requirement& requirement : requirements) {
    RETURN_IF_ERROR(FindMetric(metrics, requirement.metric).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FailedRequirements(
    const std::vector<Requirement>& requirements,
    const nlohmann::json& metrics) {
  std::vector<std::string> failed;
  for (const Requirement& requirement : requirements) {
    ASSIGN_OR_RETURN(const std::optional<double> value,
                     FindMetric(metrics, requirement.metric));
    if (!value.has_value()) {
      failed.push_back(absl::StrCat(requirement.text, ": ", requirement.metric,
                                    " was not measured"));
    } else if (!Holds(*value, requirement.comparison, requirement.bound)) {
      failed.push_back(absl::StrCat(requirement.text, ": ", requirement.metric,
                                    " is ", *value));
    }
  }
  return failed;
}

}  // namespace anyprec::load
