// StopFilter: ends a text before the first stop string in it.
//
// Text that could be the beginning of a stop string is held back until more
// text decides. Stop strings may span any number of deltas.
//
// Where the deltas and the stop strings are valid UTF-8, so is all that comes
// out. Thread-compatible.
#ifndef ANYPREC_RUNTIME_ENGINE_STOP_FILTER_H_
#define ANYPREC_RUNTIME_ENGINE_STOP_FILTER_H_

#include <span>
#include <string>

#include "absl/strings/string_view.h"

namespace anyprec {

class StopFilter {
 public:
  // Borrows the stop strings. REQUIRES: none is empty.
  explicit StopFilter(std::span<const std::string> stops) : stops_(stops) {}

  // The text that `delta` releases. REQUIRES: !matched().
  std::string Append(absl::string_view delta);

  // The text ends without a match: gives what was held back.
  std::string Flush();

  // Whether a stop string has come: all text before it is out.
  bool matched() const { return matched_; }

 private:
  size_t HeldBack() const;

  std::span<const std::string> stops_;
  std::string pending_;
  bool matched_ = false;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_STOP_FILTER_H_
