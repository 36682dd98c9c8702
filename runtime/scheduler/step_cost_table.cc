#include "runtime/scheduler/step_cost_table.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"

namespace anyprec {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;
constexpr int kMaxTableBits = 16;
constexpr double kMaxMilliseconds = 1e6;

const char* Name(Phase phase) {
  return phase == Phase::kDecode ? "decode" : "prefill";
}

// Members of one object, by type and range.
class Members {
 public:
  Members(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  absl::StatusOr<double> Number(const char* key, double low,
                                double high) const {
    const auto member = object_.find(key);
    if (member == object_.end()) return Error(key, "is missing");
    if (!member->is_number() || member->get<double>() < low ||
        member->get<double>() > high) {
      return Error(key,
                   absl::StrCat("must be a number in [", low, ", ", high, "]"));
    }
    return member->get<double>();
  }

  absl::StatusOr<int> Integer(const char* key, int low, int high) const {
    ASSIGN_OR_RETURN(const double number, Number(key, low, high));
    if (number != static_cast<int>(number)) {
      return Error(key, "must be an integer");
    }
    return static_cast<int>(number);
  }

  absl::StatusOr<std::string> Text(const char* key) const {
    const auto member = object_.find(key);
    if (member == object_.end() || !member->is_string()) {
      return Error(key, "must be a text");
    }
    return member->get<std::string>();
  }

  absl::StatusOr<const nlohmann::json*> Structure(
      const char* key, nlohmann::json::value_t type) const {
    const auto member = object_.find(key);
    if (member == object_.end() || member->type() != type) {
      return Error(
          key, absl::StrCat("must be ", type == nlohmann::json::value_t::array
                                            ? "a list"
                                            : "an object"));
    }
    return &*member;
  }

 private:
  absl::Status Error(const char* key, absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat(where_, ": \"", key, "\" ", what));
  }

  const nlohmann::json& object_;
  const std::string where_;
};

absl::Status ReadStep(const nlohmann::json& object, const std::string& where,
                      StepCostTable& table) {
  const Members step(object, where);
  ASSIGN_OR_RETURN(const std::string phase, step.Text("phase"));
  if (phase != "decode" && phase != "prefill") {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": phase is \"", phase,
                     "\"; must be \"decode\" or \"prefill\""));
  }
  RowCount work;
  work.phase = phase == "decode" ? Phase::kDecode : Phase::kPrefill;
  ASSIGN_OR_RETURN(work.bits, step.Integer("bits", 1, kMaxTableBits));
  ASSIGN_OR_RETURN(work.rows, step.Integer("rows", 1, 1 << 20));
  ASSIGN_OR_RETURN(const double ms, step.Number("ms", 0, kMaxMilliseconds));
  table.costs.Measure(work, absl::Milliseconds(ms));
  table.min_bits =
      table.min_bits == 0 ? work.bits : std::min(table.min_bits, work.bits);
  table.max_bits = std::max(table.max_bits, work.bits);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StepCostTable> ParseStepCostTable(absl::string_view json,
                                                 absl::string_view source) {
  ASSIGN_OR_RETURN(const nlohmann::json root, ParseJsonObject(json, source));
  const Members top(root, std::string(source));
  StepCostTable table;
  ASSIGN_OR_RETURN(table.name, top.Text("name"));
  ASSIGN_OR_RETURN(table.kv_tokens, top.Integer("kv_tokens", 1, 1 << 30));
  ASSIGN_OR_RETURN(
      const nlohmann::json* const context,
      top.Structure("context_us", nlohmann::json::value_t::object));
  ASSIGN_OR_RETURN(const nlohmann::json* const steps,
                   top.Structure("steps", nlohmann::json::value_t::array));
  for (size_t i = 0; i < steps->size(); ++i) {
    const std::string where = absl::StrCat(source, ": steps[", i, "]");
    if (!(*steps)[i].is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, " must be an object"));
    }
    RETURN_IF_ERROR(ReadStep((*steps)[i], where, table));
  }
  const Members costs(*context, absl::StrCat(source, ": context_us"));
  ASSIGN_OR_RETURN(const double decode, costs.Number("decode", 0, 1e6));
  ASSIGN_OR_RETURN(const double prefill, costs.Number("prefill", 0, 1e6));
  ASSIGN_OR_RETURN(const double shared,
                   top.Number("shared_ms", 0, kMaxMilliseconds));
  table.costs.MeasureContext(Phase::kDecode, absl::Microseconds(decode));
  table.costs.MeasureContext(Phase::kPrefill, absl::Microseconds(prefill));
  table.costs.MeasureShared(absl::Milliseconds(shared));
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    if (table.max_bits == 0 ||
        table.costs.Predict({phase, table.max_bits, 1}) <=
            absl::ZeroDuration()) {
      return absl::InvalidArgumentError(
          absl::StrCat(source, ": steps: needs at least one of each phase"));
    }
  }
  return table;
}

absl::StatusOr<StepCostTable> ReadStepCostTable(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string json, ReadSmallFile(path, kMaxFileBytes));
  return ParseStepCostTable(json, path);
}

std::string ToJson(const StepCostTable& table) {
  nlohmann::ordered_json steps = nlohmann::ordered_json::array();
  for (const StepCostPoint& point : table.costs.Points()) {
    steps.push_back({{"phase", Name(point.phase)},
                     {"bits", point.bits},
                     {"rows", point.rows},
                     {"ms", absl::ToDoubleMilliseconds(point.measured)}});
  }
  const auto context = [&](Phase phase) {
    return absl::ToDoubleMicroseconds(table.costs.ContextTime(phase));
  };
  const nlohmann::ordered_json json = {
      {"name", table.name},
      {"kv_tokens", table.kv_tokens},
      {"context_us",
       {{"decode", context(Phase::kDecode)},
        {"prefill", context(Phase::kPrefill)}}},
      {"shared_ms", absl::ToDoubleMilliseconds(table.costs.SharedTime())},
      {"steps", std::move(steps)}};
  return json.dump(1) + "\n";
}

}  // namespace anyprec
