#include "tests/load/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace anyprec::load {
namespace {

// Of the whole picture, in its own units; the page scales it.
constexpr double kWidth = 460;
constexpr double kHeight = 200;
constexpr double kLeft = 52;
constexpr double kRight = 8;
constexpr double kTop = 34;
constexpr double kBottom = 24;
constexpr int kValueTicks = 4;
constexpr int kTimeTicks = 8;
constexpr double kLegendStep = 74;

// The smallest of 1, 2, 2.5 and 5 times a power of ten of which `ticks` reach
// `max`.
double TickStep(double max, int ticks) {
  const double least = max / ticks;
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

// Maps times and values to the picture, and draws what all plots share.
class Canvas {
 public:
  Canvas(const Plot& plot, double y_max)
      : plot_(plot), y_step_(TickStep(y_max > 0 ? y_max : 1, kValueTicks)) {
    y_max_ = y_step_ * std::ceil((y_max > 0 ? y_max : 1) / y_step_ - 1e-9);
    double x_max = plot.x_max_s;
    for (const Series& series : plot.series) {
      x_max = std::max(x_max,
                       static_cast<double>(series.values.size()) * plot.step_s);
    }
    x_max_ = x_max > 0 ? x_max : 1;
  }

  double X(double seconds) const {
    return kLeft + seconds / x_max_ * (kWidth - kLeft - kRight);
  }
  double Y(double value) const {
    return kHeight - kBottom -
           std::min(value, y_max_) / y_max_ * (kHeight - kTop - kBottom);
  }
  // In the middle of its step.
  std::string Point(size_t index, double value) const {
    return absl::StrFormat("%.1f,%.1f",
                           X((static_cast<double>(index) + 0.5) * plot_.step_s),
                           Y(value));
  }

  std::string Begin() const {
    std::string svg = absl::StrFormat(
        "<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\">\n"
        "<text class=\"title\" x=\"%g\" y=\"12\">%s</text>\n",
        kWidth, kHeight, EscapeXml(plot_.title), kLeft,
        EscapeXml(absl::StrCat(plot_.title, " (", plot_.unit, ")")));
    if (plot_.shaded_until_s > 0) {
      absl::StrAppendFormat(
          &svg,
          "<rect class=\"warmup\" x=\"%.1f\" y=\"%g\" width=\"%.1f\" "
          "height=\"%g\"/>\n",
          X(0), kTop, X(plot_.shaded_until_s) - X(0), kHeight - kTop - kBottom);
    }
    return svg + Axes() + Legend();
  }

  std::string End() const {
    std::string svg;
    if (plot_.marked_s > 0) {
      absl::StrAppendFormat(&svg,
                            "<line class=\"mark\" x1=\"%.1f\" y1=\"%g\" "
                            "x2=\"%.1f\" y2=\"%g\"/>\n",
                            X(plot_.marked_s), kTop, X(plot_.marked_s),
                            kHeight - kBottom);
    }
    return svg + "</svg>\n";
  }

 private:
  std::string Axes() const {
    std::string svg;
    for (double value = 0; value <= y_max_ * (1 + 1e-9); value += y_step_) {
      absl::StrAppendFormat(
          &svg,
          "<line class=\"grid\" x1=\"%g\" y1=\"%.1f\" x2=\"%g\" y2=\"%.1f\"/>"
          "<text class=\"tick\" x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%s"
          "</text>\n",
          kLeft, Y(value), kWidth - kRight, Y(value), kLeft - 5, Y(value) + 3,
          absl::StrCat(value));
    }
    const double step = TickStep(x_max_, kTimeTicks);
    for (double seconds = 0; seconds <= x_max_; seconds += step) {
      absl::StrAppendFormat(&svg,
                            "<text class=\"tick\" x=\"%.1f\" y=\"%g\" "
                            "text-anchor=\"middle\">%s s</text>\n",
                            X(seconds), kHeight - kBottom + 14,
                            absl::StrCat(seconds));
    }
    return svg;
  }

  std::string Legend() const {
    std::string svg;
    double x = kLeft;
    for (const Series& series : plot_.series) {
      absl::StrAppendFormat(
          &svg,
          "<rect x=\"%g\" y=\"19\" width=\"8\" height=\"8\" fill=\"%s\"/>"
          "<text class=\"tick\" x=\"%g\" y=\"26\">%s</text>\n",
          x, EscapeXml(series.color), x + 11, EscapeXml(series.name));
      // Short names (bits) stand closer, so that six of them fit.
      x += series.name.size() <= 6 ? kLegendStep * 0.75 : kLegendStep;
    }
    return svg;
  }

  const Plot& plot_;
  const double y_step_;
  double y_max_ = 1;
  double x_max_ = 1;
};

size_t Steps(const Plot& plot) {
  size_t steps = 0;
  for (const Series& series : plot.series) {
    steps = std::max(steps, series.values.size());
  }
  return steps;
}

double ValueAt(const Series& series, size_t index) {
  return index < series.values.size() ? series.values[index].value_or(0) : 0;
}

// A value with none beside it would be a line of no length: it gets a dot.
std::string DrawLine(const Series& series, const Canvas& canvas) {
  std::string svg;
  const std::string color = EscapeXml(series.color);
  for (size_t i = 0; i < series.values.size();) {
    std::string points;
    const size_t begin = i;
    for (; i < series.values.size() && series.values[i].has_value(); ++i) {
      absl::StrAppend(&points, points.empty() ? "" : " ",
                      canvas.Point(i, *series.values[i]));
    }
    if (i == begin + 1) {
      const size_t comma = points.find(',');
      absl::StrAppend(&svg, "<circle cx=\"", points.substr(0, comma),
                      "\" cy=\"", points.substr(comma + 1),
                      "\" r=\"1.5\" fill=\"", color, "\"/>\n");
    } else if (i > begin) {
      absl::StrAppend(&svg, "<polyline class=\"line\" stroke=\"", color,
                      "\" points=\"", points, "\"/>\n");
    } else {
      ++i;
    }
  }
  return svg;
}

}  // namespace

std::string EscapeXml(absl::string_view text) {
  std::string escaped = absl::StrReplaceAll(text, {{"&", "&amp;"},
                                                   {"<", "&lt;"},
                                                   {">", "&gt;"},
                                                   {"\"", "&quot;"},
                                                   {"'", "&#39;"}});
  // XML has no way to write these.
  std::erase_if(escaped, [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t';
  });
  return escaped;
}

double MaxValue(const Plot& plot) {
  double max = 0;
  for (const Series& series : plot.series) {
    for (const std::optional<double>& value : series.values) {
      max = std::max(max, value.value_or(0));
    }
  }
  return max;
}

double MaxSum(const Plot& plot) {
  double max = 0;
  for (size_t i = 0; i < Steps(plot); ++i) {
    double sum = 0;
    for (const Series& series : plot.series) sum += ValueAt(series, i);
    max = std::max(max, sum);
  }
  return max;
}

std::string LinePlot(const Plot& plot) {
  const Canvas canvas(plot, std::max(plot.y_max, MaxValue(plot)));
  std::string svg = canvas.Begin();
  for (const Series& series : plot.series) {
    svg += DrawLine(series, canvas);
  }
  return svg + canvas.End();
}

std::string StackedPlot(const Plot& plot) {
  const Canvas canvas(plot, std::max(plot.y_max, MaxSum(plot)));
  std::string svg = canvas.Begin();
  std::vector<double> below(Steps(plot), 0);
  for (const Series& series : plot.series) {
    if (below.empty()) break;
    std::string outline;  // back along the bottom, then along the top
    for (size_t i = below.size(); i-- > 0;) {
      absl::StrAppend(&outline, canvas.Point(i, below[i]), " ");
    }
    for (size_t i = 0; i < below.size(); ++i) {
      below[i] += ValueAt(series, i);
      absl::StrAppend(&outline, canvas.Point(i, below[i]), " ");
    }
    absl::StrAppend(&svg, "<polygon fill=\"", EscapeXml(series.color),
                    "\" points=\"", outline, "\"/>\n");
  }
  return svg + canvas.End();
}

}  // namespace anyprec::load
