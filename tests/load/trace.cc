#include "tests/load/trace.h"

#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "kernels/status_macros.h"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"

namespace anyprec::load {
namespace {

constexpr size_t kMaxTraceBytes = size_t{1} << 30;
constexpr char kAzureHeader[] = "TIMESTAMP,ContextTokens,GeneratedTokens";
constexpr char kAzureTimeFormat[] = "%Y-%m-%d %H:%M:%E*S";

// A line of a file, as messages name it.
struct Line {
  absl::string_view text;
  absl::string_view source;
  int number = 0;  // from 1

  absl::Status Error(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ":", number, ": ", what));
  }
};

// The file's lines without their ends. A blank line is an entry like any
// other, and so an error, except at the end of the file.
std::vector<Line> SplitLines(absl::string_view text, absl::string_view source) {
  std::vector<Line> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(
        {text.substr(0, end), source, static_cast<int>(lines.size()) + 1});
    absl::ConsumeSuffix(&lines.back().text, "\r");
    if (end == absl::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  while (!lines.empty() && lines.back().text.empty()) lines.pop_back();
  return lines;
}

absl::StatusOr<int> ParseLength(const Line& line, absl::string_view name,
                                absl::string_view text) {
  int value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < 1) {
    return line.Error(absl::StrCat(name, " is \"", text,
                                   "\"; must be an integer of at least 1"));
  }
  return value;
}

absl::Status CheckOrder(const Line& line, absl::Duration at,
                        const std::vector<TraceEntry>& before) {
  if (before.empty() || at >= *before.back().at) return absl::OkStatus();
  return line.Error(absl::StrCat("the request came ",
                                 absl::FormatDuration(*before.back().at - at),
                                 " before the one above; times must not "
                                 "decrease"));
}

absl::StatusOr<std::vector<TraceEntry>> ParseAzure(
    const std::vector<Line>& lines) {
  if (lines[0].text != kAzureHeader) {
    return lines[0].Error(absl::StrCat("the header is \"", lines[0].text,
                                       "\"; must be \"", kAzureHeader, "\""));
  }
  std::vector<TraceEntry> entries;
  absl::Time first;
  for (size_t i = 1; i < lines.size(); ++i) {
    const Line& line = lines[i];
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line.text, ',');
    if (fields.size() != 3) {
      return line.Error(
          absl::StrCat(fields.size(), " fields; must be 3: ", kAzureHeader));
    }
    absl::Time time;
    std::string why;
    if (!absl::ParseTime(kAzureTimeFormat, fields[0], &time, &why)) {
      return line.Error(absl::StrCat(
          "TIMESTAMP is \"", fields[0],
          "\"; must be a time such as 2023-11-16 18:15:46.6805900"));
    }
    if (entries.empty()) first = time;
    TraceEntry entry;
    entry.at = time - first;
    RETURN_IF_ERROR(CheckOrder(line, *entry.at, entries));
    ASSIGN_OR_RETURN(entry.prompt_tokens,
                     ParseLength(line, "ContextTokens", fields[1]));
    ASSIGN_OR_RETURN(entry.output_tokens,
                     ParseLength(line, "GeneratedTokens", fields[2]));
    entries.push_back(std::move(entry));
  }
  return entries;
}

absl::StatusOr<int64_t> ParseInteger(const Line& line, absl::string_view name,
                                     const nlohmann::json& value, int64_t low) {
  constexpr int64_t kHigh = std::numeric_limits<int>::max();
  const bool fits =
      value.is_number_unsigned()
          ? value.get<uint64_t>() <= static_cast<uint64_t>(kHigh)
          : value.is_number_integer() && value.get<int64_t>() <= kHigh;
  if (!fits || value.get<int64_t>() < low) {
    return line.Error(absl::StrCat(
        name, " is ", value.is_structured() ? value.type_name() : value.dump(),
        "; must be an integer in [", low, ", ", kHigh, "]"));
  }
  return value.get<int64_t>();
}

absl::StatusOr<int64_t> ParseMember(const Line& line,
                                    const nlohmann::json& object,
                                    const char* key, int64_t low) {
  const auto member = object.find(key);
  if (member == object.end()) {
    return line.Error(absl::StrCat("\"", key, "\" is missing"));
  }
  return ParseInteger(line, key, *member, low);
}

absl::Status ParseHashIds(const Line& line, const nlohmann::json& object,
                          TraceEntry& entry) {
  const auto ids = object.find("hash_ids");
  if (ids == object.end()) return absl::OkStatus();
  if (!ids->is_array()) {
    return line.Error(
        absl::StrCat("hash_ids is a ", ids->type_name(), "; must be a list"));
  }
  for (const nlohmann::json& id : *ids) {
    ASSIGN_OR_RETURN(const int64_t value,
                     ParseInteger(line, "an element of hash_ids", id, 0));
    entry.hash_ids.push_back(value);
  }
  const int64_t blocks =
      (int64_t{entry.prompt_tokens} + kMooncakeBlock - 1) / kMooncakeBlock;
  if (static_cast<int64_t>(entry.hash_ids.size()) > blocks) {
    return line.Error(absl::StrCat("hash_ids has ", entry.hash_ids.size(),
                                   " elements; ", entry.prompt_tokens,
                                   " prompt tokens have ", blocks,
                                   " blocks of ", kMooncakeBlock));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TraceEntry>> ParseMooncake(
    const std::vector<Line>& lines) {
  std::vector<TraceEntry> entries;
  int64_t first_ms = 0;
  for (const Line& line : lines) {
    ASSIGN_OR_RETURN(const nlohmann::json object,
                     ParseJsonObject(line.text, absl::StrCat(line.source, ":",
                                                             line.number)));
    TraceEntry entry;
    ASSIGN_OR_RETURN(const int64_t ms,
                     ParseMember(line, object, "timestamp", 0));
    if (entries.empty()) first_ms = ms;
    entry.at = absl::Milliseconds(ms - first_ms);
    RETURN_IF_ERROR(CheckOrder(line, *entry.at, entries));
    ASSIGN_OR_RETURN(const int64_t prompt,
                     ParseMember(line, object, "input_length", 1));
    ASSIGN_OR_RETURN(const int64_t output,
                     ParseMember(line, object, "output_length", 1));
    entry.prompt_tokens = static_cast<int>(prompt);
    entry.output_tokens = static_cast<int>(output);
    RETURN_IF_ERROR(ParseHashIds(line, object, entry));
    entries.push_back(std::move(entry));
  }
  return entries;
}

absl::StatusOr<size_t> FindColumn(const Line& header, absl::string_view name) {
  const std::vector<absl::string_view> columns =
      absl::StrSplit(header.text, ',');
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i] == name) return i;
  }
  return header.Error(absl::StrCat("the header is \"", header.text,
                                   "\"; must have the column ", name));
}

absl::StatusOr<std::vector<TraceEntry>> ParseShareGpt(
    const std::vector<Line>& lines) {
  ASSIGN_OR_RETURN(const size_t prompt,
                   FindColumn(lines[0], "num_prefill_tokens"));
  ASSIGN_OR_RETURN(const size_t output,
                   FindColumn(lines[0], "num_decode_tokens"));
  const size_t columns =
      std::vector<absl::string_view>(absl::StrSplit(lines[0].text, ',')).size();
  std::vector<TraceEntry> entries;
  for (size_t i = 1; i < lines.size(); ++i) {
    const Line& line = lines[i];
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line.text, ',');
    if (fields.size() != columns) {
      return line.Error(absl::StrCat(fields.size(), " fields; must be ",
                                     columns, " as in the header"));
    }
    TraceEntry entry;
    ASSIGN_OR_RETURN(entry.prompt_tokens,
                     ParseLength(line, "num_prefill_tokens", fields[prompt]));
    ASSIGN_OR_RETURN(entry.output_tokens,
                     ParseLength(line, "num_decode_tokens", fields[output]));
    entries.push_back(std::move(entry));
  }
  return entries;
}

absl::StatusOr<std::vector<TraceEntry>> ParseLines(
    const std::vector<Line>& lines, TraceFormat format) {
  switch (format) {
    case TraceFormat::kAzure:
      return ParseAzure(lines);
    case TraceFormat::kMooncake:
      return ParseMooncake(lines);
    case TraceFormat::kShareGpt:
      break;
  }
  return ParseShareGpt(lines);
}

}  // namespace

absl::StatusOr<TraceFormat> ParseTraceFormat(absl::string_view name) {
  if (name == "azure") return TraceFormat::kAzure;
  if (name == "mooncake") return TraceFormat::kMooncake;
  if (name == "sharegpt") return TraceFormat::kShareGpt;
  return absl::InvalidArgumentError(absl::StrCat(
      "trace format is \"", name, "\"; must be azure, mooncake or sharegpt"));
}

absl::StatusOr<TraceFormat> GuessTraceFormat(absl::string_view text,
                                             absl::string_view source) {
  absl::string_view first = text.substr(0, text.find('\n'));
  absl::ConsumeSuffix(&first, "\r");
  if (absl::StartsWith(first, "{")) return TraceFormat::kMooncake;
  if (first == kAzureHeader) return TraceFormat::kAzure;
  if (absl::StrContains(first, "num_prefill_tokens")) {
    return TraceFormat::kShareGpt;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      source, ":1: begins with \"", absl::CEscape(first.substr(0, 60)),
      "\"; an Azure trace begins with \"", kAzureHeader,
      "\", a Mooncake trace with {, and a ShareGPT one has the column "
      "num_prefill_tokens"));
}

absl::StatusOr<std::vector<TraceEntry>> ParseTrace(absl::string_view text,
                                                   TraceFormat format,
                                                   absl::string_view source) {
  const std::vector<Line> lines = SplitLines(text, source);
  std::vector<TraceEntry> entries;
  if (!lines.empty()) {
    ASSIGN_OR_RETURN(entries, ParseLines(lines, format));
  }
  if (entries.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": no requests; needs at least one"));
  }
  return entries;
}

absl::StatusOr<std::vector<TraceEntry>> ReadTrace(const std::string& path,
                                                  absl::string_view format) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxTraceBytes));
  ASSIGN_OR_RETURN(const TraceFormat known_format,
                   format == "auto" ? GuessTraceFormat(text, path)
                                    : ParseTraceFormat(format));
  return ParseTrace(text, known_format, path);
}

}  // namespace anyprec::load
