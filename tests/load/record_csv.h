// Records as CSV (RFC 4180), a line for each request.
//
// Thread-safe: functions without state.
#ifndef ANYPREC_TESTS_LOAD_RECORD_CSV_H_
#define ANYPREC_TESTS_LOAD_RECORD_CSV_H_

#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/load/record.h"
#include "tests/load/request_class.h"
#include "tests/load/summary.h"

namespace anyprec::load {

// "run,index,class,..." and the line's end.
std::string CsvHeader();

// Times are seconds since the run began, latencies as in slo.h; what there is
// none of is empty. `measured` is 1 or 0, `verdict` met, missed or empty.
// REQUIRES: each record's class_index is one of `classes`.
std::string RecordsToCsv(absl::string_view run,
                         std::span<const RequestRecord> records,
                         const std::vector<RequestClass>& classes,
                         const MeasuredTime& measured);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_RECORD_CSV_H_
