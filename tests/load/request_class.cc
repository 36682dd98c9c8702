#include "tests/load/request_class.h"

#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"

namespace anyprec::load {
namespace {

constexpr size_t kMaxClassFileBytes = size_t{1} << 20;
constexpr int kMaxRequestBits = 16;  // an unquantized model's
// What the API takes, as proto/anyprec/v1/generation.proto documents it.
constexpr int kMaxPriority = 100;
constexpr double kMinSloMilliseconds = 0.001;
constexpr double kMaxMilliseconds = 24.0 * 3600 * 1000;
constexpr char kKeys[] =
    "name, share, min_bits, max_bits, fixed_bits, ttft_ms, tpot_ms, "
    "deadline_ms, priority, cancel_rate, cancel_after_ms";

struct Range {
  double low = 0;
  double high = 0;
  bool above_low = false;  // `low` itself is not allowed
};

std::string Printed(const nlohmann::json& value) {
  // Never dump() what may be deep.
  return value.is_structured() ? absl::StrCat("a JSON ", value.type_name())
                               : value.dump();
}

// Reads the members of one class.
class ClassReader {
 public:
  ClassReader(const nlohmann::json& object, std::string source)
      : object_(object), source_(std::move(source)) {}

  absl::StatusOr<RequestClass> Read();

 private:
  absl::Status Error(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(source_, ": ", what));
  }
  absl::Status CheckNumber(const std::string& key, const nlohmann::json& value,
                           const Range& range) const;
  absl::Status ReadName(RequestClass& result) const;
  absl::Status ReadCancelAfter(RequestClass& result) const;
  absl::Status CheckTogether(const RequestClass& result) const;

  // Leaves `target` where the class lacks the key.
  template <typename Target>
  absl::Status ReadNumber(const char* key, const Range& range,
                          Target* target) const {
    const auto member = object_.find(key);
    if (member == object_.end()) return absl::OkStatus();
    RETURN_IF_ERROR(CheckNumber(key, *member, range));
    *target = member->get<double>();
    return absl::OkStatus();
  }
  template <typename Target>
  absl::Status ReadInteger(const char* key, const Range& range,
                           Target* target) const {
    const auto member = object_.find(key);
    if (member == object_.end()) return absl::OkStatus();
    if (!member->is_number_integer()) {
      return Error(
          absl::StrCat(key, " is ", Printed(*member), "; must be an integer"));
    }
    RETURN_IF_ERROR(CheckNumber(key, *member, range));
    *target = member->get<int>();
    return absl::OkStatus();
  }

  const nlohmann::json& object_;
  const std::string source_;
};

absl::Status ClassReader::CheckNumber(const std::string& key,
                                      const nlohmann::json& value,
                                      const Range& range) const {
  const double number = value.is_number()
                            ? value.get<double>()
                            : std::numeric_limits<double>::quiet_NaN();
  const bool above = range.above_low ? number > range.low : number >= range.low;
  if (above && number <= range.high) return absl::OkStatus();
  return Error(absl::StrCat(key, " is ", Printed(value), "; must be in ",
                            range.above_low ? "(" : "[", range.low, ", ",
                            range.high, "]"));
}

absl::Status ClassReader::ReadName(RequestClass& result) const {
  const auto member = object_.find("name");
  if (member == object_.end()) return Error("name is missing");
  if (!member->is_string()) {
    return Error(
        absl::StrCat("name is ", Printed(*member), "; must be a text"));
  }
  result.name = member->get<std::string>();
  bool plain = !result.name.empty();
  for (const char c : result.name) {
    plain = plain && (absl::ascii_isalnum(c) || c == '-' || c == '_');
  }
  if (plain) return absl::OkStatus();
  return Error(absl::StrCat("name is \"", absl::CEscape(result.name),
                            "\"; must be of letters, digits, - and _"));
}

absl::Status ClassReader::ReadCancelAfter(RequestClass& result) const {
  const auto member = object_.find("cancel_after_ms");
  if (member == object_.end()) return absl::OkStatus();
  if (!member->is_array() || member->size() != 2) {
    return Error(absl::StrCat("cancel_after_ms is ", Printed(*member),
                              "; must be a list of two numbers"));
  }
  const Range range = {.low = 0, .high = kMaxMilliseconds};
  RETURN_IF_ERROR(CheckNumber("cancel_after_ms[0]", (*member)[0], range));
  RETURN_IF_ERROR(CheckNumber("cancel_after_ms[1]", (*member)[1], range));
  result.cancel_after_ms_low = (*member)[0].get<double>();
  result.cancel_after_ms_high = (*member)[1].get<double>();
  return absl::OkStatus();
}

absl::Status ClassReader::CheckTogether(const RequestClass& result) const {
  if (result.fixed_bits.has_value() &&
      (result.min_bits.has_value() || result.max_bits.has_value())) {
    return Error("fixed_bits excludes min_bits and max_bits");
  }
  if (result.min_bits.has_value() && result.max_bits.has_value() &&
      *result.min_bits > *result.max_bits) {
    return Error(absl::StrCat("min_bits is ", *result.min_bits,
                              "; must be at most max_bits, which is ",
                              *result.max_bits));
  }
  if (result.cancel_after_ms_low > result.cancel_after_ms_high) {
    return Error("cancel_after_ms must be ascending");
  }
  return absl::OkStatus();
}

absl::StatusOr<RequestClass> ClassReader::Read() {
  static const std::set<std::string>* const known = new std::set<std::string>{
      "name",       "share",       "min_bits",       "max_bits",
      "fixed_bits", "ttft_ms",     "tpot_ms",        "deadline_ms",
      "priority",   "cancel_rate", "cancel_after_ms"};
  for (const auto& item : object_.items()) {
    if (!known->contains(item.key())) {
      return Error(absl::StrCat("unknown key \"", absl::CEscape(item.key()),
                                "\"; known keys are ", kKeys));
    }
  }
  const Range bits = {.low = 1, .high = kMaxRequestBits};
  const Range time = {.low = kMinSloMilliseconds, .high = kMaxMilliseconds};
  RequestClass result;
  RETURN_IF_ERROR(ReadName(result));
  RETURN_IF_ERROR(ReadNumber(
      "share", {.low = 0, .high = 1e6, .above_low = true}, &result.share));
  RETURN_IF_ERROR(ReadInteger("min_bits", bits, &result.min_bits));
  RETURN_IF_ERROR(ReadInteger("max_bits", bits, &result.max_bits));
  RETURN_IF_ERROR(ReadInteger("fixed_bits", bits, &result.fixed_bits));
  RETURN_IF_ERROR(ReadNumber("ttft_ms", time, &result.ttft_ms));
  RETURN_IF_ERROR(ReadNumber("tpot_ms", time, &result.tpot_ms));
  RETURN_IF_ERROR(ReadNumber("deadline_ms", time, &result.deadline_ms));
  RETURN_IF_ERROR(ReadInteger("priority",
                              {.low = -kMaxPriority, .high = kMaxPriority},
                              &result.priority));
  RETURN_IF_ERROR(
      ReadNumber("cancel_rate", {.low = 0, .high = 1}, &result.cancel_rate));
  RETURN_IF_ERROR(ReadCancelAfter(result));
  RETURN_IF_ERROR(CheckTogether(result));
  return result;
}

}  // namespace

absl::StatusOr<std::vector<RequestClass>> ParseRequestClasses(
    absl::string_view json, absl::string_view source) {
  ASSIGN_OR_RETURN(const nlohmann::json root, ParseJsonObject(json, source));
  const auto list = root.find("classes");
  if (root.size() != 1 || list == root.end() || !list->is_array() ||
      list->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        source,
        ": must be an object with one key, \"classes\", a list of at "
        "least one class"));
  }
  std::vector<RequestClass> classes;
  std::set<std::string> names;
  for (const nlohmann::json& object : *list) {
    const std::string where =
        absl::StrCat(source, ": classes[", classes.size(), "]");
    if (!object.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, " is ", Printed(object), "; must be an object"));
    }
    ASSIGN_OR_RETURN(RequestClass one, ClassReader(object, where).Read());
    if (!names.insert(one.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": name is \"", one.name,
                       "\", which another class has; must be unique"));
    }
    classes.push_back(std::move(one));
  }
  return classes;
}

absl::StatusOr<std::vector<RequestClass>> ReadRequestClasses(
    const std::string& path) {
  ASSIGN_OR_RETURN(const std::string json,
                   ReadSmallFile(path, kMaxClassFileBytes));
  return ParseRequestClasses(json, path);
}

void FixPrecision(int bits, std::vector<RequestClass>& classes) {
  for (RequestClass& one : classes) {
    const int floor = one.floor_bits();
    one.fixed_bits = bits;
    one.max_bits.reset();
    one.min_bits.reset();
    if (floor > 0) one.min_bits = floor;
  }
}

absl::Status ScaleSlos(double factor, std::vector<RequestClass>& classes) {
  for (RequestClass& one : classes) {
    const std::pair<const char*, std::optional<double>*> slos[] = {
        {"ttft_ms", &one.ttft_ms},
        {"tpot_ms", &one.tpot_ms},
        {"deadline_ms", &one.deadline_ms}};
    for (const auto& [key, slo] : slos) {
      if (!slo->has_value()) continue;
      const double scaled = **slo * factor;
      if (scaled < kMinSloMilliseconds || scaled > kMaxMilliseconds) {
        return absl::InvalidArgumentError(
            absl::StrCat("class ", one.name, ": ", key, " is ", **slo, ", and ",
                         scaled, " when scaled by ", factor, "; must be in [",
                         kMinSloMilliseconds, ", ", kMaxMilliseconds, "]"));
      }
      *slo = scaled;
    }
  }
  return absl::OkStatus();
}

}  // namespace anyprec::load
