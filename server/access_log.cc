#include "server/access_log.h"

#include <spdlog/spdlog.h>

#include <cstddef>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace anyprec {
namespace {

// Messages are short but where they quote.
constexpr size_t kMaxMessageBytes = 500;

// Nothing where all counts are zero.
void AppendBits(absl::string_view name, const BitsHistogram& tokens,
                std::string& line) {
  absl::string_view separator = name;
  for (size_t bits = 0; bits < tokens.size(); ++bits) {
    if (tokens[bits] == 0) continue;
    absl::StrAppend(&line, separator, bits, ":", tokens[bits]);
    separator = ",";
  }
}

}  // namespace

std::string AccessLogLine(const AccessedCall& call, const absl::Status& status,
                          const RequestStats& stats) {
  std::string line = absl::StrCat(call.id, " ", call.rpc, " ",
                                  absl::StatusCodeToString(status.code()));
  if (!call.traceparent.empty()) {
    absl::StrAppend(&line, " traceparent=", call.traceparent);
  }
  if (!status.ok()) {
    // Escaped: a message may quote what a client sent.
    absl::StrAppend(
        &line, " \"",
        absl::CHexEscape(status.message().substr(0, kMaxMessageBytes)), "\"");
  }
  if (stats.total == absl::ZeroDuration()) return line;  // Never accepted.
  absl::StrAppend(&line, " prompt=", stats.prompt_tokens,
                  " cached=", stats.cached_prompt_tokens);
  AppendBits(" prompt_bits=", stats.prompt_tokens_by_bits, line);
  absl::StrAppend(&line, " completion=", stats.completion_tokens);
  AppendBits(" bits=", stats.tokens_by_bits, line);
  if (stats.draft_tokens > 0) {
    absl::StrAppend(&line, " drafts=", stats.accepted_draft_tokens, "/",
                    stats.draft_tokens);
  }
  absl::StrAppendFormat(&line,
                        " queue=%.1fms ttft=%.1fms tpot=%.2fms "
                        "total=%.1fms",
                        absl::ToDoubleMilliseconds(stats.queue_time),
                        absl::ToDoubleMilliseconds(stats.ttft),
                        absl::ToDoubleMilliseconds(stats.tpot),
                        absl::ToDoubleMilliseconds(stats.total));
  return line;
}

void LogAccess(const AccessedCall& call, const absl::Status& status,
               const RequestStats& stats) {
  if (!spdlog::should_log(spdlog::level::info)) return;
  spdlog::info("{}", AccessLogLine(call, status, stats));
}

}  // namespace anyprec
