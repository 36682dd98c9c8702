#include "tests/load/run_report.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"

namespace anyprec::load {
namespace {

constexpr char kFormat[] = "anyprec-loadtest 1";
constexpr size_t kMaxReportBytes = size_t{256} << 20;

// The columns of a timeline, each a member of a window.
struct CountColumn {
  const char* name;
  int64_t TimelineWindow::*member;
};
constexpr CountColumn kCounts[] = {{"planned", &TimelineWindow::planned},
                                   {"refused", &TimelineWindow::refused},
                                   {"failed", &TimelineWindow::failed},
                                   {"waiting", &TimelineWindow::waiting},
                                   {"running", &TimelineWindow::running}};
struct LatencyColumn {
  const char* name;
  std::optional<double> TimelineWindow::*member;
};
constexpr LatencyColumn kLatencies[] = {
    {"ttft_p50_ms", &TimelineWindow::ttft_p50_ms},
    {"ttft_p99_ms", &TimelineWindow::ttft_p99_ms},
    {"tpot_p50_ms", &TimelineWindow::tpot_p50_ms},
    {"tpot_p99_ms", &TimelineWindow::tpot_p99_ms}};

nlohmann::json BitsColumn(const Timeline& timeline, int bits) {
  nlohmann::json column = nlohmann::json::array();
  bool any = false;
  for (const TimelineWindow& window : timeline.windows) {
    column.push_back(window.tokens_by_bits[bits]);
    any = any || window.tokens_by_bits[bits] > 0;
  }
  return any ? column : nlohmann::json();
}

nlohmann::json ToJson(const Timeline& timeline) {
  nlohmann::json json = {{"window_s", timeline.window_s},
                         {"warm_up_s", timeline.warm_up_s},
                         {"end_s", timeline.end_s},
                         {"tokens_by_bits", nlohmann::json::object()}};
  for (const CountColumn& column : kCounts) {
    nlohmann::json& values = json[column.name] = nlohmann::json::array();
    for (const TimelineWindow& window : timeline.windows) {
      values.push_back(window.*column.member);
    }
  }
  for (const LatencyColumn& column : kLatencies) {
    nlohmann::json& values = json[column.name] = nlohmann::json::array();
    for (const TimelineWindow& window : timeline.windows) {
      const std::optional<double>& value = window.*column.member;
      values.push_back(value.has_value() ? nlohmann::json(*value)
                                         : nlohmann::json());
    }
  }
  for (int bits = 0; bits <= kMaxBitsReported; ++bits) {
    nlohmann::json column = BitsColumn(timeline, bits);
    if (!column.is_null()) {
      json["tokens_by_bits"][absl::StrCat(bits)] = std::move(column);
    }
  }
  return json;
}

// Reads the timeline of one run; messages name it as `source_`.
class TimelineReader {
 public:
  TimelineReader(const nlohmann::json& json, std::string source)
      : json_(json), source_(std::move(source)) {}

  absl::StatusOr<Timeline> Read() {
    if (!json_.is_object()) return Error("timeline is no object");
    Timeline timeline;
    RETURN_IF_ERROR(ReadNumber("window_s", timeline.window_s));
    RETURN_IF_ERROR(ReadNumber("warm_up_s", timeline.warm_up_s));
    RETURN_IF_ERROR(ReadNumber("end_s", timeline.end_s));
    if (!(timeline.window_s > 0)) return Error("window_s must be above 0");
    ASSIGN_OR_RETURN(const nlohmann::json* planned, Column(json_, "planned"));
    timeline.windows.resize(planned->size());
    for (const CountColumn& column : kCounts) {
      RETURN_IF_ERROR(ReadCounts(json_, column.name, timeline,
                                 [&column](TimelineWindow& window) -> int64_t& {
                                   return window.*column.member;
                                 }));
    }
    for (const LatencyColumn& column : kLatencies) {
      RETURN_IF_ERROR(ReadLatencies(column, timeline));
    }
    RETURN_IF_ERROR(ReadBits(timeline));
    return timeline;
  }

 private:
  absl::Status Error(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(source_, ": ", what));
  }

  absl::Status ReadNumber(const char* name, double& value) const {
    const auto member = json_.find(name);
    if (member == json_.end() || !member->is_number()) {
      return Error(absl::StrCat(name, " must be a number"));
    }
    value = member->get<double>();
    return absl::OkStatus();
  }

  absl::StatusOr<const nlohmann::json*> Column(const nlohmann::json& columns,
                                               const std::string& name) const {
    const auto column = columns.find(name);
    if (column == columns.end() || !column->is_array()) {
      return Error(absl::StrCat(name, " must be a list"));
    }
    return &*column;
  }

  template <typename Select>
  absl::Status ReadCounts(const nlohmann::json& columns,
                          const std::string& name, Timeline& timeline,
                          Select select) const {
    ASSIGN_OR_RETURN(const nlohmann::json* column, Column(columns, name));
    if (column->size() != timeline.windows.size()) {
      return Error(absl::StrCat(name, " has ", column->size(),
                                " elements; must have ",
                                timeline.windows.size()));
    }
    for (size_t i = 0; i < column->size(); ++i) {
      const nlohmann::json& value = (*column)[i];
      if (!value.is_number_integer()) {
        return Error(absl::StrCat(name, "[", i, "] must be an integer"));
      }
      select(timeline.windows[i]) = value.get<int64_t>();
    }
    return absl::OkStatus();
  }

  absl::Status ReadLatencies(const LatencyColumn& column,
                             Timeline& timeline) const {
    ASSIGN_OR_RETURN(const nlohmann::json* values, Column(json_, column.name));
    if (values->size() != timeline.windows.size()) {
      return Error(absl::StrCat(column.name, " has ", values->size(),
                                " elements; must have ",
                                timeline.windows.size()));
    }
    for (size_t i = 0; i < values->size(); ++i) {
      const nlohmann::json& value = (*values)[i];
      if (value.is_null()) continue;
      if (!value.is_number()) {
        return Error(
            absl::StrCat(column.name, "[", i, "] must be a number or null"));
      }
      timeline.windows[i].*column.member = value.get<double>();
    }
    return absl::OkStatus();
  }

  absl::Status ReadBits(Timeline& timeline) const {
    const auto columns = json_.find("tokens_by_bits");
    if (columns == json_.end() || !columns->is_object()) {
      return Error("tokens_by_bits must be an object");
    }
    for (const auto& item : columns->items()) {
      int bits = 0;
      if (!absl::SimpleAtoi(item.key(), &bits) || bits < 0 ||
          bits > kMaxBitsReported) {
        return Error(
            absl::StrCat("tokens_by_bits has a key that is not in [0, ",
                         kMaxBitsReported, "]"));
      }
      RETURN_IF_ERROR(ReadCounts(*columns, item.key(), timeline,
                                 [bits](TimelineWindow& window) -> int64_t& {
                                   return window.tokens_by_bits[bits];
                                 }));
    }
    return absl::OkStatus();
  }

  const nlohmann::json& json_;
  const std::string source_;
};

absl::StatusOr<RunReport> RunFromJson(const nlohmann::json& json,
                                      const std::string& source) {
  const auto error = [&source](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": ", what));
  };
  if (!json.is_object()) return error("must be an object");
  const auto label = json.find("label");
  const auto settings = json.find("settings");
  const auto metrics = json.find("metrics");
  const auto timeline = json.find("timeline");
  if (label == json.end() || !label->is_string()) {
    return error("label must be a text");
  }
  if (settings == json.end() || !settings->is_object() ||
      metrics == json.end() || !metrics->is_object() ||
      timeline == json.end()) {
    return error("settings, metrics and timeline must be objects");
  }
  RunReport run;
  run.label = label->get<std::string>();
  run.settings = *settings;
  run.metrics = *metrics;
  ASSIGN_OR_RETURN(run.timeline, TimelineReader(*timeline, source).Read());
  return run;
}

}  // namespace

nlohmann::json ReportsToJson(const std::vector<RunReport>& runs,
                             const nlohmann::json& highest_rates) {
  nlohmann::json json = {{"format", kFormat},
                         {"runs", nlohmann::json::array()}};
  for (const RunReport& run : runs) {
    json["runs"].push_back({{"label", run.label},
                            {"settings", run.settings},
                            {"metrics", run.metrics},
                            {"timeline", ToJson(run.timeline)}});
  }
  if (!highest_rates.is_null()) json["highest_rates"] = highest_rates;
  return json;
}

absl::StatusOr<std::vector<RunReport>> ReportsFromJson(
    absl::string_view json, absl::string_view source) {
  ASSIGN_OR_RETURN(const nlohmann::json root, ParseJsonObject(json, source));
  const auto format = root.find("format");
  const auto list = root.find("runs");
  if (format == root.end() || *format != kFormat || list == root.end() ||
      !list->is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": not a report; needs \"format\": \"", kFormat,
                     "\" and a list of \"runs\""));
  }
  std::vector<RunReport> runs;
  for (const nlohmann::json& run : *list) {
    ASSIGN_OR_RETURN(
        RunReport report,
        RunFromJson(run, absl::StrCat(source, ": runs[", runs.size(), "]")));
    runs.push_back(std::move(report));
  }
  return runs;
}

absl::StatusOr<std::vector<RunReport>> ReadReports(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string json,
                   ReadSmallFile(path, kMaxReportBytes));
  return ReportsFromJson(json, path);
}

}  // namespace anyprec::load
