// Plots over time as SVG elements to stand in an HTML page.
//
// Well-formed XML; no scripts, nothing loaded from elsewhere. Colours are CSS
// classes of the page where they depend on its scheme, and plain where they
// tell series apart.
//
// Thread-safe: values and functions without state.
#ifndef ANYPREC_TESTS_LOAD_SVG_PLOT_H_
#define ANYPREC_TESTS_LOAD_SVG_PLOT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace anyprec::load {

struct Series {
  std::string name;
  std::string color;  // "#rrggbb"
  // One for each step of the time axis; lines break where one is absent.
  std::vector<std::optional<double>> values;
};

struct Plot {
  std::string title;
  std::string unit;           // of the values
  double step_s = 1;          // values[i] stands for [i, i + 1) * step_s
  double shaded_until_s = 0;  // the warm-up
  double marked_s = 0;        // the end of the arrivals; 0: no mark
  // The range of the axes, for plots to be compared; 0: what the values need.
  double x_max_s = 0;
  double y_max = 0;
  std::vector<Series> series;
};

// "&lt;" for "<", and so on: fit for text and for quoted attributes.
std::string EscapeXml(absl::string_view text);

// The highest value; 0 without any.
double MaxValue(const Plot& plot);
// The highest sum over the series at one step.
double MaxSum(const Plot& plot);

// A line for each series.
std::string LinePlot(const Plot& plot);

// Areas on top of each other, the first series at the bottom; absent values
// count as 0.
std::string StackedPlot(const Plot& plot);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_SVG_PLOT_H_
