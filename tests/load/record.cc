#include "tests/load/record.h"

#include <algorithm>
#include <limits>

namespace anyprec::load {

absl::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kLost:
      return "lost";
    case Outcome::kOk:
      return "ok";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kDeadline:
      return "deadline";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kError:
      break;
  }
  return "error";
}

void PromptBits::Add(int bits, int64_t count) {
  Add(PromptBits{bits, count, bits * count});
}

void PromptBits::Add(const PromptBits& other) {
  if (other.tokens == 0) return;
  lowest = tokens == 0 ? other.lowest : std::min(lowest, other.lowest);
  tokens += other.tokens;
  sum += other.sum;
}

double PromptBits::Mean() const {
  return tokens == 0 ? 0
                     : static_cast<double>(sum) / static_cast<double>(tokens);
}

uint32_t RequestRecord::SincePlanned(absl::Duration time) const {
  const int64_t us = absl::ToInt64Microseconds(time - planned_at);
  return static_cast<uint32_t>(
      std::clamp<int64_t>(us, 0, std::numeric_limits<uint32_t>::max()));
}

absl::Duration RequestRecord::TokenTime(size_t index) const {
  return planned_at + absl::Microseconds(tokens[index].since_planned_us);
}

}  // namespace anyprec::load
