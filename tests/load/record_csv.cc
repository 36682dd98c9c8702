#include "tests/load/record_csv.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "tests/load/slo.h"

namespace anyprec::load {
namespace {

std::string Quoted(absl::string_view text) {
  if (text.find_first_of(",\"\r\n") == absl::string_view::npos) {
    return std::string(text);
  }
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string Seconds(absl::Duration time) {
  return absl::StrFormat("%.6f", absl::ToDoubleSeconds(time));
}

std::string Milliseconds(const std::optional<double>& ms) {
  return ms.has_value() ? absl::StrFormat("%.3f", *ms) : "";
}

absl::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kMet:
      return "met";
    case Verdict::kMissed:
      return "missed";
    case Verdict::kNotJudged:
      break;
  }
  return "";
}

std::string PromptBitsCells(const PromptBits& prompt) {
  if (prompt.tokens == 0) return ",";
  return absl::StrFormat("%.3f,%d", prompt.Mean(), prompt.lowest);
}

std::string BitsCells(const RequestRecord& record) {
  if (record.tokens.empty()) return ",";
  BitsCounts counts = {};
  int lowest = kMaxBitsReported;
  for (const TokenArrival& token : record.tokens) {
    const int bits = std::min<int>(token.bits, kMaxBitsReported);
    ++counts[bits];
    lowest = std::min(lowest, bits);
  }
  return absl::StrFormat("%.3f,%d", MeanBits(counts), lowest);
}

}  // namespace

std::string CsvHeader() {
  return "run,index,class,measured,outcome,reason,verdict,planned_s,sent_s,"
         "first_token_s,finished_s,prompt_tokens,planned_output_tokens,"
         "output_tokens,ttft_ms,tpot_ms,e2e_ms,floor_bits,mean_bits,"
         "lowest_bits,prompt_mean_bits,prompt_lowest_bits,retry_after_ms,"
         "message\n";
}

std::string RecordsToCsv(absl::string_view run,
                         std::span<const RequestRecord> records,
                         const std::vector<RequestClass>& classes,
                         const MeasuredTime& measured) {
  std::string csv;
  for (size_t i = 0; i < records.size(); ++i) {
    const RequestRecord& record = records[i];
    const RequestClass& one = classes[record.class_index];
    const bool counts = record.planned_at >= measured.warm_up &&
                        record.planned_at < measured.end;
    absl::StrAppend(&csv, Quoted(run), ",", i, ",", one.name, ",",
                    counts ? 1 : 0, ",", OutcomeName(record.outcome), ",",
                    Quoted(record.reason), ",",
                    VerdictName(Judge(record, one).verdict), ",");
    absl::StrAppend(
        &csv, Seconds(record.planned_at), ",", Seconds(record.sent_at), ",",
        record.tokens.empty() ? "" : Seconds(record.TokenTime(0)), ",",
        Seconds(record.finished_at), ",", record.prompt_tokens, ",",
        record.planned_output_tokens, ",", record.tokens.size(), ",");
    std::optional<double> retry_ms;
    if (record.retry_delay.has_value()) {
      retry_ms = absl::ToDoubleMilliseconds(*record.retry_delay);
    }
    absl::StrAppend(
        &csv, Milliseconds(TtftMs(record)), ",", Milliseconds(TpotMs(record)),
        ",", Milliseconds(E2eMs(record)), ",", record.floor_bits, ",",
        BitsCells(record), ",", PromptBitsCells(record.prompt_bits), ",",
        Milliseconds(retry_ms), ",", Quoted(record.message), "\n");
  }
  return csv;
}

}  // namespace anyprec::load
