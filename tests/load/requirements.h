// What a run must reach: --require='goodput>=0.95,ttft_ms.p99<500'.
//
//   requirement = metric comparison number
//   comparison  = "<" | "<=" | ">" | ">=" | "=="
//
// Thread-safe: values and functions without state.
#ifndef ANYPREC_TESTS_LOAD_REQUIREMENTS_H_
#define ANYPREC_TESTS_LOAD_REQUIREMENTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace anyprec::load {

enum class Comparison { kLess, kAtMost, kMore, kAtLeast, kEqual };

struct Requirement {
  std::string text;  // as it was given
  std::string metric;
  Comparison comparison = Comparison::kEqual;
  double bound = 0;
};

// A list, separated by commas. INVALID_ARGUMENT names the part that is none.
absl::StatusOr<std::vector<Requirement>> ParseRequirements(
    absl::string_view list);

// NOT_FOUND where one of them names no metric.
absl::Status CheckNames(const std::vector<Requirement>& requirements,
                        const nlohmann::json& metrics);

// A line for each requirement that `metrics` do not keep, with the value. One
// on what was not measured is not kept. NOT_FOUND as above.
absl::StatusOr<std::vector<std::string>> FailedRequirements(
    const std::vector<Requirement>& requirements,
    const nlohmann::json& metrics);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_REQUIREMENTS_H_
