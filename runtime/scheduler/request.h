// A generation request and what comes back, in the runtime's own terms.
//
// Request is the immutable input. Nothing here knows gRPC: the server
// translates. All times are absl's.
#ifndef ANYPREC_RUNTIME_SCHEDULER_REQUEST_H_
#define ANYPREC_RUNTIME_SCHEDULER_REQUEST_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kernels/bit_plane.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  int top_k = 0;             // 0: off
  float top_p = 1.0f;        // (0, 1]
  float min_p = 0.0f;        // [0, 1]: relative to the likeliest token
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  // The same seed gives the same text at the same precisions, whatever the
  // batch mates; with a precision range and an SLO or deadline, load chooses
  // the precisions. Absent: the engine draws one.
  std::optional<uint64_t> seed;
};

struct StopCriteria {
  int max_tokens = 0;  // 0: score the prompt only
  // False where max_tokens is only the room in the context: a deadline is then
  // not spread over that many tokens, but over a usual answer's.
  bool max_tokens_given = true;
  std::vector<std::string> stop;  // the text ends before the first match
  std::vector<TokenId> stop_token_ids;
  bool ignore_eos = false;
};

// What latency a request asks for. Absent members ask for nothing.
struct Slo {
  std::optional<absl::Duration> ttft;  // submission to first token
  std::optional<absl::Duration> tpot;  // mean time per token after the first
};

// Either a fixed precision, or a range from which the scheduler takes the
// highest precision that keeps the SLO and the deadline.
struct PrecisionSpec {
  std::optional<int> fixed_bits;
  std::optional<int> min_bits;  // the quality floor; default: seed bits
  std::optional<int> max_bits;  // default: all bits loaded
  Slo slo;
};

// Self-speculative decoding: low planes of the weights draft tokens, and one
// step at the request's own precision verifies them all. What comes out is what
// that precision alone would give: the same text where decoding is greedy, the
// same distribution where it samples (Leviathan et al. 2023). Absent members:
// as is predicted to be fastest.
struct SpeculationSpec {
  std::optional<int> draft_tokens;  // before each verification; 0: off
  std::optional<int> draft_bits;
};

inline constexpr int kMaxDraftTokens = 8;

// Precisions, ends included.
struct BitsRange {
  int min = 0;
  int max = 0;
};

// What a request may run at where `served` can be had.
inline BitsRange ResolveBits(const PrecisionSpec& precision,
                             const BitsRange& served) {
  if (precision.fixed_bits.has_value()) {
    return {*precision.fixed_bits, *precision.fixed_bits};
  }
  return {precision.min_bits.value_or(served.min),
          precision.max_bits.value_or(served.max)};
}

struct Request {
  std::string id;  // for logs; unique
  std::vector<TokenId> prompt;
  SamplingParams sampling;
  StopCriteria stopping;
  PrecisionSpec precision;
  std::optional<SpeculationSpec> speculation;    // absent: the engine's default
  int priority = 0;                              // higher goes first
  absl::Time deadline = absl::InfiniteFuture();  // end to end
  std::optional<int> top_logprobs;  // report log-probabilities, and this many
                                    // alternatives a token
  bool prompt_logprobs = false;     // log-probability of each prompt token
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
};

struct TokenOutput {
  TokenId token = 0;
  int bits = 0;       // precision of the step that produced it
  float logprob = 0;  // of the model, before temperature and penalties
  std::vector<TokenLogprob> top;  // descending; empty unless asked for
};

enum class FinishReason { kStop, kLength, kDeadline, kCancelled, kError };

// Counts by precision, index = bits. An unquantized checkpoint counts as 16.
using BitsHistogram = std::array<int64_t, 16 + 1>;

struct RequestStats {
  int prompt_tokens = 0;
  int cached_prompt_tokens = 0;  // of them, found in the prefix cache
  int completion_tokens = 0;
  absl::Duration queue_time;  // submission to first scheduled step
  absl::Duration ttft;        // submission to first token
  absl::Duration tpot;        // mean after the first; zero for one token
  absl::Duration total;
  BitsHistogram tokens_by_bits = {};
  int precision_changes = 0;
  // Those that the prefix cache had included.
  BitsHistogram prompt_tokens_by_bits = {};
  int draft_tokens = 0;           // that were verified
  int accepted_draft_tokens = 0;  // of them, now part of the answer
};

struct Finish {
  FinishReason reason = FinishReason::kStop;
  absl::Status status;  // not OK for kDeadline, kCancelled, kError
  RequestStats stats;
};

// What became ready since the last chunk was taken.
struct Chunk {
  std::string text;                 // valid UTF-8; never part of a stop string
  std::vector<TokenOutput> tokens;  // the tokens generated since
  std::vector<float> prompt_logprobs;  // once, in the first chunk, if asked
                                       // for: element i belongs to prompt
                                       // token i + 1
  std::optional<Finish> finish;        // in the last chunk
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_SCHEDULER_REQUEST_H_
