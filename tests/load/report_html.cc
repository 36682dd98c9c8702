#include "tests/load/report_html.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/load/summary.h"
#include "tests/load/summary_table.h"
#include "tests/load/svg_plot.h"

namespace anyprec::load {
namespace {

constexpr char kStyle[] = R"(
:root { color-scheme: light dark; --ink: #1d2530; --soft: #66707d;
  --rule: #d9dee5; --shade: #eef1f5; --page: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #98a2af;
  --rule: #343c47; --shade: #232a33; --page: #171c22; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink);
  background: var(--page); margin: 24px; }
h1 { font-size: 22px; margin: 0 0 16px; }
h2 { font-size: 16px; margin: 28px 0 8px; }
p { color: var(--soft); max-width: 80ch; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 14px 3px 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; }
.runs { display: grid; gap: 8px 20px; overflow-x: auto; }
.runs h3 { font-size: 14px; margin: 0; }
svg { width: 100%; min-width: 320px; font: 10px system-ui, sans-serif; }
svg text { fill: var(--ink); }
svg .title { font-size: 12px; font-weight: 600; }
svg .tick { fill: var(--soft); }
svg .grid { stroke: var(--rule); stroke-width: 0.6; }
svg .warmup { fill: var(--shade); }
svg .mark { stroke: var(--soft); stroke-dasharray: 3 3; }
svg .line { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
)";

constexpr char kBlue[] = "#2f6fbd";
constexpr char kOrange[] = "#d9822b";
constexpr char kRed[] = "#c23b3b";
constexpr char kGray[] = "#8a93a0";

// From few bits (warm) to many (cold); more than 8 in gray.
const char* BitsColor(int bits) {
  constexpr const char* kColors[] = {kGray,     "#7f1d1d", "#a12a2a",
                                     "#cf4a2e", "#e8913a", "#e3c44a",
                                     "#7fb77e", "#3f8fb5", "#33508f"};
  return bits <= 8 ? kColors[bits] : kGray;
}

template <typename Select>
Series MakeSeries(const Timeline& timeline, std::string name, std::string color,
                  Select select) {
  Series series = {std::move(name), std::move(color), {}};
  for (const TimelineWindow& window : timeline.windows) {
    series.values.push_back(select(window));
  }
  return series;
}

Plot NewPlot(const Timeline& timeline, std::string title, std::string unit) {
  Plot plot;
  plot.title = std::move(title);
  plot.unit = std::move(unit);
  plot.step_s = timeline.window_s;
  plot.shaded_until_s = timeline.warm_up_s;
  plot.marked_s = timeline.end_s;
  return plot;
}

Plot ArrivalsPlot(const Timeline& timeline) {
  Plot plot = NewPlot(timeline, "Arrivals", "requests/s");
  const auto rate = [&timeline](int64_t TimelineWindow::*member) {
    return [&timeline, member](const TimelineWindow& window) {
      return static_cast<double>(window.*member) / timeline.window_s;
    };
  };
  plot.series = {
      MakeSeries(timeline, "arrived", kBlue, rate(&TimelineWindow::planned)),
      MakeSeries(timeline, "refused", kOrange, rate(&TimelineWindow::refused)),
      MakeSeries(timeline, "failed", kRed, rate(&TimelineWindow::failed))};
  return plot;
}

Plot QueuePlot(const Timeline& timeline) {
  Plot plot = NewPlot(timeline, "Requests in the server", "at once");
  plot.series = {MakeSeries(timeline, "answering", kBlue,
                            [](const TimelineWindow& window) {
                              return static_cast<double>(window.running);
                            }),
                 MakeSeries(timeline, "no token yet", kOrange,
                            [](const TimelineWindow& window) {
                              return static_cast<double>(window.waiting);
                            })};
  return plot;
}

Plot MeanBitsPlot(const Timeline& timeline) {
  Plot plot = NewPlot(timeline, "Mean precision of the tokens", "bits");
  plot.series = {
      MakeSeries(timeline, "mean", kBlue,
                 [](const TimelineWindow& window) -> std::optional<double> {
                   const double bits = MeanBits(window.tokens_by_bits);
                   if (bits == 0) return std::nullopt;
                   return bits;
                 })};
  return plot;
}

Plot TokensPlot(const Timeline& timeline) {
  Plot plot = NewPlot(timeline, "Tokens by precision", "tokens/s");
  for (int bits = 0; bits <= kMaxBitsReported; ++bits) {
    const auto rate = [&timeline, bits](const TimelineWindow& window) {
      return static_cast<double>(window.tokens_by_bits[bits]) /
             timeline.window_s;
    };
    Series series =
        MakeSeries(timeline, bits == 0 ? "none" : absl::StrCat(bits, " bits"),
                   BitsColor(bits), rate);
    if (std::any_of(series.values.begin(), series.values.end(),
                    [](const auto& value) { return value != 0.0; })) {
      plot.series.push_back(std::move(series));
    }
  }
  return plot;
}

Plot LatencyPlot(const Timeline& timeline, std::string title,
                 std::optional<double> TimelineWindow::*p50,
                 std::optional<double> TimelineWindow::*p99) {
  Plot plot = NewPlot(timeline, std::move(title), "ms");
  plot.series = {
      MakeSeries(timeline, "p50", kBlue,
                 [p50](const TimelineWindow& window) { return window.*p50; }),
      MakeSeries(timeline, "p99", kOrange,
                 [p99](const TimelineWindow& window) { return window.*p99; })};
  return plot;
}

enum class Shape { kLines, kStacked };

// The same plot of each run, side by side and with the same axes.
template <typename MakePlot>
std::string PlotRow(const std::vector<RunReport>& runs, Shape shape,
                    MakePlot make_plot) {
  std::vector<Plot> plots;
  double x_max = 0;
  double y_max = 0;
  for (const RunReport& run : runs) {
    plots.push_back(make_plot(run.timeline));
    x_max = std::max(x_max, static_cast<double>(run.timeline.windows.size()) *
                                run.timeline.window_s);
    y_max = std::max(y_max, shape == Shape::kLines ? MaxValue(plots.back())
                                                   : MaxSum(plots.back()));
  }
  std::string html;
  for (Plot& plot : plots) {
    plot.x_max_s = x_max;
    plot.y_max = y_max;
    absl::StrAppend(&html, "<div>",
                    shape == Shape::kLines ? LinePlot(plot) : StackedPlot(plot),
                    "</div>\n");
  }
  return html;
}

std::string Plots(const std::vector<RunReport>& runs) {
  std::string html = absl::StrCat(
      "<div class=\"runs\" style=\"grid-template-columns: repeat(", runs.size(),
      ", minmax(320px, ", runs.size() == 1 ? "760px" : "1fr", "))\">\n");
  for (const RunReport& run : runs) {
    absl::StrAppend(&html, "<h3>", EscapeXml(run.label), "</h3>\n");
  }
  html += PlotRow(runs, Shape::kLines, ArrivalsPlot);
  html += PlotRow(runs, Shape::kStacked, QueuePlot);
  html += PlotRow(runs, Shape::kLines, MeanBitsPlot);
  html += PlotRow(runs, Shape::kStacked, TokensPlot);
  html += PlotRow(runs, Shape::kLines, [](const Timeline& timeline) {
    return LatencyPlot(timeline, "Time to first token",
                       &TimelineWindow::ttft_p50_ms,
                       &TimelineWindow::ttft_p99_ms);
  });
  html += PlotRow(runs, Shape::kLines, [](const Timeline& timeline) {
    return LatencyPlot(timeline, "Time per output token",
                       &TimelineWindow::tpot_p50_ms,
                       &TimelineWindow::tpot_p99_ms);
  });
  return html + "</div>\n";
}

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::string html = "<div class=\"wide\"><table>\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    html += "<tr>";
    for (const std::string& cell : rows[i]) {
      absl::StrAppend(&html, i == 0 ? "<th>" : "<td>", EscapeXml(cell),
                      i == 0 ? "</th>" : "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string Settings(const std::vector<RunReport>& runs) {
  std::vector<std::string> lines;
  for (const RunReport& run : runs) {
    std::vector<std::string> settings;
    for (const auto& item : run.settings.items()) {
      const nlohmann::json& value = item.value();
      if (value.is_structured()) continue;
      settings.push_back(absl::StrCat(
          item.key(), "=",
          value.is_string() ? value.get<std::string>() : value.dump()));
    }
    lines.push_back(absl::StrCat("<p><b>", EscapeXml(run.label), "</b> ",
                                 EscapeXml(absl::StrJoin(settings, ", ")),
                                 "</p>\n"));
  }
  return absl::StrJoin(lines, "");
}

}  // namespace

std::string ReportHtml(absl::string_view title,
                       const std::vector<RunReport>& runs) {
  const std::string name = EscapeXml(title);
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta "
      "charset=\"utf-8\"/>\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"/>\n<title>",
      name, "</title>\n<style>", kStyle, "</style>\n</head>\n<body>\n<h1>",
      name, "</h1>\n", Table(SummaryRows(runs)),
      "<h2>Over time</h2>\n<p>The shaded stretch is warm-up and not measured; "
      "the dashed line is the last arrival. Times to first token count from "
      "the planned arrival and stand where the request arrived; times per "
      "token stand where the answer ended.</p>\n",
      Plots(runs), "<h2>Settings</h2>\n", Settings(runs), "</body>\n</html>\n");
}

}  // namespace anyprec::load
