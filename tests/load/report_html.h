// One page that shows runs side by side: their metrics in a table, and plots of
// arrivals, queue, bits and latencies over time with common axes.
//
// Well-formed XML, self-contained: it loads nothing and runs no script.
//
// Thread-safe: a function without state.
#ifndef ANYPREC_TESTS_LOAD_REPORT_HTML_H_
#define ANYPREC_TESTS_LOAD_REPORT_HTML_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/load/run_report.h"

namespace anyprec::load {

std::string ReportHtml(absl::string_view title,
                       const std::vector<RunReport>& runs);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_REPORT_HTML_H_
