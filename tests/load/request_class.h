// Classes of requests, and the mix of them that a test sends.
//
// A class file is a JSON object:
//
//   {"classes": [
//     {"name": "chat",        // letters, digits, - and _; unique
//      "share": 0.7,          // of all requests, by weight; above 0
//      "min_bits": 3,         // the quality floor
//      "max_bits": 8,
//      "fixed_bits": 4,       // instead of the two
//      "ttft_ms": 500,        // SLOs, each optional
//      "tpot_ms": 80,
//      "deadline_ms": 30000,  // from arrival to the last token
//      "priority": 1,         // higher goes first
//      "cancel_rate": 0.05,   // share that the client cancels, [0, 1]
//      "cancel_after_ms": [0, 2000]  // uniformly in between; with cancel_rate
//     }]}
//
// All but the name are optional. Ranges are those of the API: what a server
// would refuse is refused when the file is read.
//
// Thread-safe: values and functions without state.
#ifndef ANYPREC_TESTS_LOAD_REQUEST_CLASS_H_
#define ANYPREC_TESTS_LOAD_REQUEST_CLASS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace anyprec::load {

struct RequestClass {
  std::string name = "all";
  double share = 1;
  std::optional<int> min_bits;
  std::optional<int> max_bits;
  std::optional<int> fixed_bits;
  std::optional<double> ttft_ms;
  std::optional<double> tpot_ms;
  std::optional<double> deadline_ms;
  int priority = 0;
  double cancel_rate = 0;
  // After the request's arrival.
  double cancel_after_ms_low = 0;
  double cancel_after_ms_high = 1000;

  bool has_slo() const {
    return ttft_ms.has_value() || tpot_ms.has_value() ||
           deadline_ms.has_value();
  }

  // No token may be of fewer bits; 0 where the class sets no floor.
  int floor_bits() const { return min_bits.value_or(fixed_bits.value_or(0)); }
};

// INVALID_ARGUMENT names `source`, the class, the key, the value found and what
// is allowed.
absl::StatusOr<std::vector<RequestClass>> ParseRequestClasses(
    absl::string_view json, absl::string_view source);

absl::StatusOr<std::vector<RequestClass>> ReadRequestClasses(
    const std::string& path);

// The same mix at one precision, for comparing policies: SLOs stay, and so does
// the floor that answers are judged by.
void FixPrecision(int bits, std::vector<RequestClass>& classes);

// All SLOs `factor` times as long: the same mix for a machine that is so much
// slower than the one it was written for. INVALID_ARGUMENT names the first that
// the API would not take any more.
absl::Status ScaleSlos(double factor, std::vector<RequestClass>& classes);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_REQUEST_CLASS_H_
