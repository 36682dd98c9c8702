// Prometheus' text format, as a test reads it.
#ifndef ANYPREC_TESTS_SERVER_EXPOSITION_H_
#define ANYPREC_TESTS_SERVER_EXPOSITION_H_

#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace anyprec {

struct Exposition {
  // "anyprec_step_bits" -> "histogram"
  std::map<std::string, std::string> types;
  // "anyprec_generation_tokens_total{bits=\"4\"}" -> 12
  std::map<std::string, double> values;

  // NaN where there is none.
  double Value(const std::string& name_and_labels) const;
  // Of all values with the name, whatever their labels.
  double Sum(const std::string& name) const;
};

// The test fails where `text` is malformed.
Exposition ParseExposition(absl::string_view text);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_SERVER_EXPOSITION_H_
