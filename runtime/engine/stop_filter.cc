#include "runtime/engine/stop_filter.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/match.h"

namespace anyprec {

std::string StopFilter::Append(absl::string_view delta) {
  if (stops_.empty()) return std::string(delta);
  pending_.append(delta.data(), delta.size());
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    first = std::min(first, pending_.find(stop));
  }
  matched_ = first != std::string::npos;
  const size_t released = matched_ ? first : pending_.size() - HeldBack();
  std::string text = pending_.substr(0, released);
  pending_.erase(0, matched_ ? pending_.size() : released);
  return text;
}

// The longest end of the pending text that begins a stop string.
size_t StopFilter::HeldBack() const {
  const absl::string_view pending = pending_;
  size_t held = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, pending.size()); n > held; --n) {
      if (absl::EndsWith(pending, absl::string_view(stop).substr(0, n))) {
        held = n;
      }
    }
  }
  return held;
}

std::string StopFilter::Flush() { return std::exchange(pending_, ""); }

}  // namespace anyprec
