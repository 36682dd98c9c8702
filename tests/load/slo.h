// Whether a request got what it asked for.
//
//   TTFT  from the PLANNED arrival to the first token: what a client waits, the
//         server's queue and our own lateness included, so that a slow server
//         cannot hide behind requests that were sent late
//   TPOT  (last token - first token) / (tokens - 1): an answer of one token has
//         none, so it neither passes nor fails one
//   E2E   from the planned arrival to the last token; held to the deadline
//
// Refused, failed, lost, expired and cut-short requests miss every SLO they
// have. An answer with a token below the floor, its prompt's included, is not
// what was asked for either, whatever SLOs it kept. Those that the client
// cancelled are not judged.
//
// Thread-safe: functions without state.
#ifndef ANYPREC_TESTS_LOAD_SLO_H_
#define ANYPREC_TESTS_LOAD_SLO_H_

#include <optional>

#include "tests/load/record.h"
#include "tests/load/request_class.h"

namespace anyprec::load {

// Absent without tokens.
std::optional<double> TtftMs(const RequestRecord& record);
// Absent with fewer than 2 tokens.
std::optional<double> TpotMs(const RequestRecord& record);
// Absent without tokens.
std::optional<double> E2eMs(const RequestRecord& record);

enum class Verdict {
  kNotJudged,  // cancelled; or of its SLOs none applies (a lone TPOT, 1 token)
  kMet,        // all SLOs that apply, and the floor; without any, a full answer
  kMissed,
};

// Members are absent where the class has no such SLO, or it does not apply.
struct SloResult {
  Verdict verdict = Verdict::kNotJudged;
  std::optional<bool> ttft;
  std::optional<bool> tpot;
  std::optional<bool> deadline;
};

// An answer with fewer tokens than were asked for: plans set ignore_eos, so
// nothing but the server can have ended it.
bool IsShort(const RequestRecord& record);

// Of the answer; not those whose bits the server did not tell.
int TokensBelowFloor(const RequestRecord& record);

bool PromptBelowFloor(const RequestRecord& record);

SloResult Judge(const RequestRecord& record, const RequestClass& slo);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_SLO_H_
