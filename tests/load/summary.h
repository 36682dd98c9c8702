// Records of a run, condensed.
//
// Measured are the requests planned in [warm_up, end); slo.h says how each is
// judged. Throughput counts what happened within that time, whenever it was
// planned, so that it is the server's rate and not that of a run that drains.
//
// Thread-safe: values and functions without state.
#ifndef ANYPREC_TESTS_LOAD_SUMMARY_H_
#define ANYPREC_TESTS_LOAD_SUMMARY_H_

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/load/distribution.h"
#include "tests/load/record.h"
#include "tests/load/request_class.h"

namespace anyprec::load {

// Index: bits; [0] counts tokens without any.
inline constexpr int kMaxBitsReported = 16;
using BitsCounts = std::array<int64_t, kMaxBitsReported + 1>;

// Token-weighted mean of the tokens that have bits; 0 for none.
double MeanBits(const BitsCounts& counts);

// How many of those to whom an SLO applied met it.
struct Attainment {
  int64_t judged = 0;
  int64_t met = 0;
  void Add(bool was_met) {
    ++judged;
    met += was_met ? 1 : 0;
  }
};

// Over the measured requests of one class, or of all.
struct ClassSummary {
  int64_t planned = 0;
  std::map<Outcome, int64_t> outcomes;
  Attainment all;  // of all SLOs together: the goodput
  Attainment ttft;
  Attainment tpot;
  Attainment deadline;
  // Milliseconds, of answers that ended well; TTFT, TPOT and E2E as in slo.h.
  // Refused and lost requests have no latency: read them beside the outcomes.
  Distribution ttft_ms;
  Distribution tpot_ms;
  Distribution e2e_ms;
  // Between messages that brought tokens, which is what a reader sees.
  Distribution itl_ms;
  BitsCounts tokens_by_bits = {};
  PromptBits prompt_bits;
};

struct Summary {
  double measured_s = 0;
  ClassSummary total;
  std::vector<ClassSummary> classes;  // as the request classes

  // From the planned arrival to the sending: this client's own lateness.
  Distribution client_queue_ms;

  // Within the measured time.
  double offered_rps = 0;
  double completed_rps = 0;
  double goodput_rps = 0;  // requests planned then that met all their SLOs
  double output_tokens_per_s = 0;
  double prompt_tokens_per_s = 0;  // of requests whose first token came then

  // Promises that hold always, so warm-up is not excluded.
  int64_t tokens_below_floor = 0;
  int64_t answers_below_floor = 0;
  int64_t prompts_below_floor = 0;
  int64_t tokens_without_bits = 0;
  // Answers of which a token lacks bits, or whose closing histograms do not
  // confirm its tokens or lack some of its prompt.
  int64_t answers_without_bits = 0;
  int64_t short_answers = 0;
  int64_t lost = 0;  // the measured ones and the others

  // Measured refusals, from the sending to the status.
  Distribution refusal_latency_ms;
  int64_t refusals_without_retry_info = 0;
  Distribution retry_after_ms;
  // Measured requests that did not end well, by outcome and reason.
  std::map<std::string, int64_t> reasons;
};

struct MeasuredTime {
  absl::Duration warm_up;
  absl::Duration end;
};

// REQUIRES: each record's class_index is one of `classes`; end > warm_up.
Summary Summarize(std::span<const RequestRecord> records,
                  const std::vector<RequestClass>& classes,
                  const MeasuredTime& measured);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_SUMMARY_H_
