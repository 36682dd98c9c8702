#include "server/client/generation_output.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "server/client/connection.h"

namespace anyprec {
namespace {

// FINISH_REASON_STOP is called "stop".
std::string FinishReasonName(v1::FinishReason reason) {
  const std::string name = v1::FinishReason_Name(reason);
  return absl::AsciiStrToLower(absl::StripPrefix(name, "FINISH_REASON_"));
}

using BitsCounts = google::protobuf::RepeatedPtrField<v1::BitsCount>;

// "4 bits", or "3 (60), 8 (4) bits" with the tokens at each.
std::string BitsToText(const BitsCounts& counts) {
  std::string text;
  for (const v1::BitsCount& count : counts) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", count.bits());
    if (counts.size() > 1) absl::StrAppend(&text, " (", count.tokens(), ")");
  }
  return absl::StrCat(text.empty() ? "no" : text, " bits");
}

nlohmann::json BitsToJson(const BitsCounts& counts) {
  nlohmann::json json = nlohmann::json::object();
  for (const v1::BitsCount& count : counts) {
    json[absl::StrCat(count.bits())] = count.tokens();
  }
  return json;
}

nlohmann::json LogprobsToJson(const v1::GenerateResponse& sample) {
  nlohmann::json list = nlohmann::json::array();
  for (const v1::Token& token : sample.tokens()) {
    nlohmann::json entry = {{"id", token.id()}, {"logprob", token.logprob()}};
    for (const v1::TokenLogprob& top : token.top_logprobs()) {
      entry["top"].push_back({{"id", top.id()}, {"logprob", top.logprob()}});
    }
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace

double TokensPerSecond(const v1::Finish& finish) {
  const v1::Timings& timings = finish.timings();
  if (timings.tpot_ms() > 0) return 1000 / timings.tpot_ms();
  if (timings.total_ms() <= 0) return 0;
  return 1000 * finish.usage().completion_tokens() / timings.total_ms();
}

nlohmann::json SampleToJson(const v1::GenerateResponse& sample) {
  const v1::Finish& finish = sample.finish();
  const v1::Timings& timings = finish.timings();
  nlohmann::json json = {
      {"text", sample.text()},
      {"tokens", sample.tokens_size()},
      {"prompt_tokens", sample.prompt().prompt_tokens()},
      {"prompt_bits", BitsToJson(finish.prompt_tokens_by_bits())},
      {"finish_reason", FinishReasonName(finish.reason())},
      {"bits", BitsToJson(finish.tokens_by_bits())},
      {"precision_changes", finish.precision_changes()},
      {"draft_tokens", finish.usage().draft_tokens()},
      {"accepted_draft_tokens", finish.usage().accepted_draft_tokens()},
      {"queue_ms", timings.queue_ms()},
      {"ttft_ms", timings.ttft_ms()},
      {"tpot_ms", timings.tpot_ms()},
      {"total_ms", timings.total_ms()},
      {"tokens_per_second", TokensPerSecond(finish)},
      {"seed", sample.prompt().seed()},
      {"request_id", sample.prompt().request_id()},
      {"token_ids", nlohmann::json::array()},
  };
  for (const v1::Token& token : sample.tokens()) {
    json["token_ids"].push_back(token.id());
  }
  if (sample.tokens_size() > 0 && sample.tokens(0).has_logprob()) {
    json["logprobs"] = LogprobsToJson(sample);
  }
  return json;
}

nlohmann::json AnswerToJson(const std::vector<v1::GenerateResponse>& samples,
                            const grpc::Status& status) {
  nlohmann::json json = nlohmann::json::object();
  if (samples.size() == 1) {
    json = SampleToJson(samples[0]);
  } else {
    for (const v1::GenerateResponse& sample : samples) {
      json["samples"].push_back(SampleToJson(sample));
    }
  }
  if (!status.ok()) json["error"] = ErrorToJson(status);
  return json;
}

std::string SummaryLine(const v1::GenerateResponse& sample) {
  const v1::Finish& finish = sample.finish();
  return absl::StrFormat(
      "%d tokens at %s after a prompt at %s, %.1f tokens/s, the first after "
      "%.1f ms",
      finish.usage().completion_tokens(), BitsToText(finish.tokens_by_bits()),
      BitsToText(finish.prompt_tokens_by_bits()), TokensPerSecond(finish),
      finish.timings().ttft_ms());
}

}  // namespace anyprec
