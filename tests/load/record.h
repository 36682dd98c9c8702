// What happened to one request.
//
// Thread-compatible.
#ifndef ANYPREC_TESTS_LOAD_RECORD_H_
#define ANYPREC_TESTS_LOAD_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace anyprec::load {

enum class Outcome {
  kLost,       // nobody said how it ended before the run gave up
  kOk,         // answered to its end
  kRefused,    // RESOURCE_EXHAUSTED before the first token
  kDeadline,   // DEADLINE_EXCEEDED
  kCancelled,  // by us
  kError,      // anything else, a server that cannot be reached included
};
inline constexpr Outcome kOutcomes[] = {Outcome::kLost,      Outcome::kOk,
                                        Outcome::kRefused,   Outcome::kDeadline,
                                        Outcome::kCancelled, Outcome::kError};

// "ok", "refused", ...
absl::string_view OutcomeName(Outcome outcome);

// One token of an answer. 8 bytes: a run has millions.
struct TokenArrival {
  // Since the request's planned arrival; what is later than the 71 minutes that
  // fit counts as that. Equal for the tokens of one message.
  uint32_t since_planned_us = 0;
  uint8_t bits = 0;  // as the server said; 0 where it did not
};

// Precisions of the rows of a prompt, as the server counted them. Condensed, as
// most records of an overload are of refusals, which have none.
struct PromptBits {
  int lowest = 0;      // 0: none were counted
  int64_t tokens = 0;  // that were counted
  int64_t sum = 0;     // over them

  void Add(int bits, int64_t count);
  void Add(const PromptBits& other);
  // 0 for none.
  double Mean() const;
};

struct RequestRecord {
  // The plan.
  int class_index = 0;
  int prompt_tokens = 0;
  int planned_output_tokens = 0;
  int floor_bits = 0;         // 0: none was asked for
  absl::Duration planned_at;  // since the run began, as all below
  // What came of it.
  absl::Duration sent_at;
  absl::Duration finished_at;  // the status arrived, or the run gave up
  std::vector<TokenArrival> tokens;
  Outcome outcome = Outcome::kLost;
  // For outcomes other than kOk: ErrorInfo's reason where there is one, else
  // the status code's name.
  std::string reason;
  std::string message;  // the status's
  // RetryInfo's delay; absent where none was attached.
  std::optional<absl::Duration> retry_delay;
  PromptBits prompt_bits;
  // An answer's closing histograms count as many tokens at each precision as
  // its tokens say, and all of its prompt.
  bool bits_confirmed = false;

  // The offset for a time since the run began, saturated.
  uint32_t SincePlanned(absl::Duration time) const;
  // Since the run began. REQUIRES: index < tokens.size().
  absl::Duration TokenTime(size_t index) const;
};

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_RECORD_H_
