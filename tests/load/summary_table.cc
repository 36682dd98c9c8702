#include "tests/load/summary_table.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/load/metrics.h"

namespace anyprec::load {
namespace {

enum class Format { kCount, kNumber, kPercent, kLatency };

struct Row {
  const char* title;
  const char* metric;  // of kLatency: the distribution
  Format format;
};

constexpr Row kRows[] = {
    {"requests measured", "requests.planned", Format::kCount},
    {"  answered", "requests.ok", Format::kCount},
    {"  refused", "requests.refused", Format::kCount},
    {"  past their deadline", "requests.deadline", Format::kCount},
    {"  cancelled by us", "requests.cancelled", Format::kCount},
    {"  in error", "requests.error", Format::kCount},
    {"  lost", "requests.lost", Format::kCount},
    {"offered, requests/s", "offered_rps", Format::kNumber},
    {"answered, requests/s", "completed_rps", Format::kNumber},
    {"goodput, requests/s", "goodput_rps", Format::kNumber},
    {"goodput, share of requests", "goodput", Format::kPercent},
    {"  within TTFT", "ttft_attainment", Format::kPercent},
    {"  within TPOT", "tpot_attainment", Format::kPercent},
    {"  within deadline", "deadline_attainment", Format::kPercent},
    {"output tokens/s", "output_tokens_per_s", Format::kNumber},
    {"prompt tokens/s", "prompt_tokens_per_s", Format::kNumber},
    {"TTFT ms: mean/p50/p90/p99", "ttft_ms", Format::kLatency},
    {"TPOT ms", "tpot_ms", Format::kLatency},
    {"ITL ms", "itl_ms", Format::kLatency},
    {"E2E ms", "e2e_ms", Format::kLatency},
    {"client queue ms", "client_queue_ms", Format::kLatency},
    {"refusal ms", "refusals.latency_ms", Format::kLatency},
    {"refusals without RetryInfo", "refusals.without_retry_info",
     Format::kCount},
    {"mean bits of the tokens", "mean_bits", Format::kNumber},
    {"mean bits of the prompts", "prompt_mean_bits", Format::kNumber},
    {"tokens below their floor", "tokens_below_floor", Format::kCount},
    {"prompts below their floor", "prompts_below_floor", Format::kCount},
    {"answers without bits", "answers_without_bits", Format::kCount},
    {"answers cut short", "short_answers", Format::kCount},
    {"lost, warm-up included", "lost", Format::kCount},
};

constexpr Row kClassRows[] = {
    {"requests", "requests.planned", Format::kCount},
    {"goodput", "goodput", Format::kPercent},
    {"TTFT ms", "ttft_ms", Format::kLatency},
    {"TPOT ms", "tpot_ms", Format::kLatency},
    {"mean bits", "mean_bits", Format::kNumber},
};

std::optional<double> Value(const RunReport& run, const std::string& metric) {
  const absl::StatusOr<std::optional<double>> value =
      FindMetric(run.metrics, metric);
  return value.ok() ? *value : std::nullopt;
}

// About 4 digits, as measurements are not worth more.
std::string Number(std::optional<double> value) {
  if (!value.has_value()) return "-";
  // "%.4g" alone would write 12345 as 1.234e+04.
  return *value >= 1000 ? absl::StrFormat("%.0f", *value)
                        : absl::StrFormat("%.4g", *value);
}

std::string Cell(const RunReport& run, const std::string& metric,
                 Format format) {
  if (format == Format::kLatency) {
    if (!Value(run, metric + ".mean").has_value()) return "-";
    return absl::StrCat(Number(Value(run, metric + ".mean")), " / ",
                        Number(Value(run, metric + ".p50")), " / ",
                        Number(Value(run, metric + ".p90")), " / ",
                        Number(Value(run, metric + ".p99")));
  }
  const std::optional<double> value = Value(run, metric);
  if (!value.has_value()) return "-";
  if (format == Format::kPercent)
    return absl::StrFormat("%.1f %%", *value * 100);
  if (format == Format::kCount) return absl::StrFormat("%.0f", *value);
  return Number(value);
}

std::vector<std::string> ClassNames(const std::vector<RunReport>& runs) {
  std::vector<std::string> names;
  for (const RunReport& run : runs) {
    const auto classes = run.metrics.find("classes");
    if (classes == run.metrics.end() || classes->size() < 2) continue;
    for (const auto& item : classes->items()) names.push_back(item.key());
    break;
  }
  return names;
}

void AddRow(const std::vector<RunReport>& runs, const std::string& title,
            const std::string& metric, Format format,
            std::vector<std::vector<std::string>>& rows) {
  std::vector<std::string> cells = {title};
  for (const RunReport& run : runs) cells.push_back(Cell(run, metric, format));
  rows.push_back(std::move(cells));
}

}  // namespace

std::vector<std::vector<std::string>> SummaryRows(
    const std::vector<RunReport>& runs) {
  std::vector<std::vector<std::string>> rows = {{""}};
  for (const RunReport& run : runs) rows[0].push_back(run.label);
  for (const Row& row : kRows) {
    AddRow(runs, row.title, row.metric, row.format, rows);
  }
  for (const std::string& name : ClassNames(runs)) {
    for (const Row& row : kClassRows) {
      AddRow(runs, absl::StrCat(name, ": ", row.title),
             absl::StrCat("classes.", name, ".", row.metric), row.format, rows);
    }
  }
  return rows;
}

std::string SummaryText(const std::vector<RunReport>& runs) {
  const std::vector<std::vector<std::string>> rows = SummaryRows(runs);
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    absl::StrAppend(&text, row[0], std::string(widths[0] - row[0].size(), ' '));
    for (size_t i = 1; i < row.size(); ++i) {
      absl::StrAppend(&text, "  ", std::string(widths[i] - row[i].size(), ' '),
                      row[i]);
    }
    text += "\n";
  }
  return text;
}

}  // namespace anyprec::load
