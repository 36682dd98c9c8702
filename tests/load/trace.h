// Readers of public request traces: when requests came and how long they were.
//
//   azure     CSV "TIMESTAMP,ContextTokens,GeneratedTokens", times as
//             "2023-11-16 18:15:46.6805900" (AzureLLMInferenceTrace, 2023)
//   mooncake  JSON lines {"timestamp": ms, "input_length", "output_length",
//             "hash_ids": [...]}; a hash id names a block of kMooncakeBlock
//             prompt tokens together with everything before it
//   sharegpt  CSV of lengths without times; the columns num_prefill_tokens and
//             num_decode_tokens are read, others ignored
//
// Strict: INVALID_ARGUMENT names file, line, the value found and what it must
// be. Lines may end in CR LF; a last line without an end is read.
//
// Thread-safe: functions without state.
#ifndef ANYPREC_TESTS_LOAD_TRACE_H_
#define ANYPREC_TESTS_LOAD_TRACE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace anyprec::load {

// Prompt tokens that one of Mooncake's hash ids stands for.
inline constexpr int kMooncakeBlock = 512;

struct TraceEntry {
  // Since the trace's first entry, never decreasing; absent where the trace
  // holds lengths only.
  std::optional<absl::Duration> at;
  int prompt_tokens = 0;  // at least 1
  int output_tokens = 0;  // at least 1
  // Equal ids mean equal tokens up to the block's end. Empty where unknown.
  std::vector<int64_t> hash_ids;
  // Prompt tokens of a block; the prompt's last block may be shorter.
  int hash_block_tokens = kMooncakeBlock;
};

enum class TraceFormat { kAzure, kMooncake, kShareGpt };

// "azure", "mooncake" or "sharegpt".
absl::StatusOr<TraceFormat> ParseTraceFormat(absl::string_view name);

// By the file's first line: a JSON object, or the columns of a CSV.
absl::StatusOr<TraceFormat> GuessTraceFormat(absl::string_view text,
                                             absl::string_view source);

// `source` is the name for messages. A trace without entries is an error, and
// so is a length below 1, as no request has one.
absl::StatusOr<std::vector<TraceEntry>> ParseTrace(absl::string_view text,
                                                   TraceFormat format,
                                                   absl::string_view source);

// Reads a file of at most 1 GB; `format` "auto" guesses.
absl::StatusOr<std::vector<TraceEntry>> ReadTrace(const std::string& path,
                                                  absl::string_view format);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_TRACE_H_
