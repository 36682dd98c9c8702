// Records made by hand.
#ifndef ANYPREC_TESTS_LOAD_RECORD_HELPERS_H_
#define ANYPREC_TESTS_LOAD_RECORD_HELPERS_H_

#include <vector>

#include "tests/load/record.h"

namespace anyprec::load {

// Answered in full: a token at each of `token_ms` after the planned arrival.
inline RequestRecord Answered(double planned_s,
                              const std::vector<double>& token_ms,
                              int bits = 4) {
  RequestRecord record;
  record.prompt_tokens = 10;
  record.planned_at = absl::Seconds(planned_s);
  record.sent_at = record.planned_at;
  record.planned_output_tokens = static_cast<int>(token_ms.size());
  for (const double ms : token_ms) {
    record.tokens.push_back(
        {static_cast<uint32_t>(ms * 1000), static_cast<uint8_t>(bits)});
  }
  record.finished_at = record.planned_at + absl::Milliseconds(token_ms.back());
  record.outcome = Outcome::kOk;
  record.prompt_bits.Add(bits, record.prompt_tokens);
  record.bits_confirmed = true;
  return record;
}

// Ended after `ms` without a token.
inline RequestRecord Ended(double planned_s, Outcome outcome, double ms) {
  RequestRecord record;
  record.prompt_tokens = 10;
  record.planned_output_tokens = 2;
  record.planned_at = absl::Seconds(planned_s);
  record.sent_at = record.planned_at;
  record.finished_at = record.planned_at + absl::Milliseconds(ms);
  record.outcome = outcome;
  record.reason = "REASON";
  return record;
}

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_RECORD_HELPERS_H_
