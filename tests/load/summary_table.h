// The metrics of runs as a table: a row for each metric, a column for each run.
//
// Thread-safe: functions without state.
#ifndef ANYPREC_TESTS_LOAD_SUMMARY_TABLE_H_
#define ANYPREC_TESTS_LOAD_SUMMARY_TABLE_H_

#include <string>
#include <vector>

#include "tests/load/run_report.h"

namespace anyprec::load {

// The first row holds the runs' labels. Rows of classes follow those of all
// requests, for the classes of the first run that has several.
std::vector<std::vector<std::string>> SummaryRows(
    const std::vector<RunReport>& runs);

// The rows as text, in columns.
std::string SummaryText(const std::vector<RunReport>& runs);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_SUMMARY_TABLE_H_
