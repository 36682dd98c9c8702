#include "runtime/scheduler/step_cost_table.h"

#include <algorithm>
#include <cstddef>
#include <limits>
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
constexpr double kMaxMicroseconds = 1e6;  // of a cached token

const char* Name(Phase phase) {
  return phase == Phase::kDecode ? "decode" : "prefill";
}

std::string Printed(const nlohmann::json& value) {
  // Never dump() what may be deep.
  return value.is_structured() ? absl::StrCat("a JSON ", value.type_name())
                               : value.dump();
}

// Members of one object, by type and range.
class Members {
 public:
  Members(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  // A time that may be none, such as what another token adds.
  absl::StatusOr<double> Time(const char* key, double high) const {
    const double number = NumberOf(key);
    if (number >= 0 && number <= high) return number;
    return Error(key, absl::StrCat("a number in [0, ", high, "]"));
  }

  // A time that something takes.
  absl::StatusOr<double> PositiveTime(const char* key, double high) const {
    const double number = NumberOf(key);
    if (number > 0 && number <= high) return number;
    return Error(key, absl::StrCat("a number in (0, ", high, "]"));
  }

  absl::StatusOr<int> Integer(const char* key, int low, int high) const {
    const double number = NumberOf(key);
    if (number >= low && number <= high && number == static_cast<int>(number)) {
      return static_cast<int>(number);
    }
    return Error(key, absl::StrCat("an integer in [", low, ", ", high, "]"));
  }

  absl::StatusOr<std::string> Text(const char* key) const {
    const auto member = object_.find(key);
    if (member == object_.end() || !member->is_string()) {
      return Error(key, "a text");
    }
    return member->get<std::string>();
  }

  absl::StatusOr<Phase> PhaseOf(const char* key) const {
    ASSIGN_OR_RETURN(const std::string name, Text(key));
    for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
      if (name == Name(phase)) return phase;
    }
    return Error(key, "\"decode\" or \"prefill\"");
  }

  absl::StatusOr<const nlohmann::json*> Structure(
      const char* key, nlohmann::json::value_t type) const {
    const auto member = object_.find(key);
    if (member == object_.end() || member->type() != type) {
      return Error(
          key, type == nlohmann::json::value_t::array ? "a list" : "an object");
    }
    return &*member;
  }

 private:
  // NaN, which is in no range, for what is missing or no number.
  double NumberOf(const char* key) const {
    const auto member = object_.find(key);
    return member != object_.end() && member->is_number()
               ? member->get<double>()
               : std::numeric_limits<double>::quiet_NaN();
  }

  absl::Status Error(const char* key, absl::string_view need) const {
    const auto member = object_.find(key);
    return absl::InvalidArgumentError(
        absl::StrCat(where_, ": \"", key, "\" is ",
                     member == object_.end() ? "missing" : Printed(*member),
                     "; must be ", need));
  }

  const nlohmann::json& object_;
  const std::string where_;
};

absl::Status ReadStep(const nlohmann::json& object, const std::string& where,
                      StepCostTable& table) {
  const Members step(object, where);
  RowCount work;
  ASSIGN_OR_RETURN(work.phase, step.PhaseOf("phase"));
  ASSIGN_OR_RETURN(work.bits, step.Integer("bits", 1, kMaxTableBits));
  ASSIGN_OR_RETURN(work.rows, step.Integer("rows", 1, 1 << 20));
  ASSIGN_OR_RETURN(const double ms, step.PositiveTime("ms", kMaxMilliseconds));
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
      return absl::InvalidArgumentError(absl::StrCat(
          where, " is ", Printed((*steps)[i]), "; must be an object"));
    }
    RETURN_IF_ERROR(ReadStep((*steps)[i], where, table));
  }
  const Members costs(*context, absl::StrCat(source, ": context_us"));
  ASSIGN_OR_RETURN(const double decode, costs.Time("decode", kMaxMicroseconds));
  ASSIGN_OR_RETURN(const double prefill,
                   costs.Time("prefill", kMaxMicroseconds));
  ASSIGN_OR_RETURN(const double shared,
                   top.Time("shared_ms", kMaxMilliseconds));
  table.costs.MeasureContext(Phase::kDecode, absl::Microseconds(decode));
  table.costs.MeasureContext(Phase::kPrefill, absl::Microseconds(prefill));
  table.costs.MeasureShared(absl::Milliseconds(shared));
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    if (table.max_bits == 0 ||
        table.costs.Predict({phase, table.max_bits, 1}) <=
            absl::ZeroDuration()) {
      return absl::InvalidArgumentError(
          absl::StrCat(source, ": steps: none is a ", Name(phase),
                       " step; needs at least one of each phase"));
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
