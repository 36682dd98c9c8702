// `anyprec score`, `anyprec tokenize` and `anyprec detokenize`.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/client/commands.h"
#include "server/client/standard_output.h"

namespace anyprec {
namespace {

// A whole context, on a processor that others use as well.
constexpr absl::Duration kScoreTimeout = absl::Minutes(10);

constexpr char kScoreUsage[] =
    "Usage: anyprec score [FLAGS] [TEXT]\n\n"
    "Prints how likely the model finds TEXT, or what stdin holds.";

constexpr char kTokenizeUsage[] =
    "Usage: anyprec tokenize [FLAGS] [TEXT]\n\n"
    "Prints the token ids of TEXT, or of what stdin holds.";

constexpr char kDetokenizeUsage[] =
    "Usage: anyprec detokenize [FLAGS] ID...\n\n"
    "Prints the text of token ids.";

nlohmann::json ScoreToJson(const v1::ScoreResponse& response) {
  nlohmann::json tokens = nlohmann::json::array();
  for (const v1::Token& token : response.tokens()) {
    nlohmann::json entry = {{"id", token.id()}};
    if (token.has_logprob()) entry["logprob"] = token.logprob();
    tokens.push_back(std::move(entry));
  }
  return {{"total_logprob", response.total_logprob()},
          {"perplexity", response.perplexity()},
          {"scored_tokens", response.scored_tokens()},
          {"bits", response.bits()},
          {"total_ms", response.timings().total_ms()},
          {"tokens", std::move(tokens)}};
}

}  // namespace

int RunScore(std::span<const std::string> arguments) {
  CommonFlags common;
  common.default_timeout = kScoreTimeout;
  std::optional<int> bits;
  std::optional<int> context_tokens;
  std::optional<double> deadline_ms;
  FlagSet flags;
  AddCommonFlags(common, flags);
  flags.Add("bits", &bits, "Precision; else the highest that is loaded.");
  flags.Add("context_tokens", &context_tokens,
            "Leading tokens that are context only.");
  flags.Add("deadline_ms", &deadline_ms,
            "Milliseconds for the whole answer. The client waits a little "
            "longer, for what the server says.");
  int exit_code = kExitOk;
  const auto words =
      ParseArguments(arguments, kScoreUsage, common, flags, exit_code);
  if (!words.has_value()) return exit_code;

  const absl::StatusOr<std::string> text = TextOrStdin(*words);
  if (!text.ok()) return ReportWrongUsage(text.status().message());
  v1::ScoreRequest request;
  request.set_text(*text);
  if (bits) request.set_bits(*bits);
  if (context_tokens) request.set_context_tokens(*context_tokens);
  if (deadline_ms) request.set_deadline_ms(*deadline_ms);
  v1::ScoreResponse response;
  const grpc::Status status =
      Call(&v1::InferenceService::Stub::Score, common,
           CallTimeout(common, deadline_ms), request, &response);
  if (!status.ok()) return ReportError(status, common);
  Print(common.json
            ? DumpJson(ScoreToJson(response)) + "\n"
            : absl::StrFormat(
                  "%d tokens at %d bits: log-likelihood %.4f, perplexity "
                  "%.4f\n",
                  response.scored_tokens(), response.bits(),
                  response.total_logprob(), response.perplexity()));
  return kExitOk;
}

int RunTokenize(std::span<const std::string> arguments) {
  CommonFlags common;
  v1::TokenizeRequest request;
  bool add_special = true;
  bool parse_special = false;
  FlagSet flags;
  AddCommonFlags(common, flags);
  flags.Add("add_special", &add_special,
            "Add the model's begin-of-text token.");
  flags.Add("parse_special", &parse_special,
            "Names of control tokens in TEXT stand for these tokens.");
  int exit_code = kExitOk;
  const auto words =
      ParseArguments(arguments, kTokenizeUsage, common, flags, exit_code);
  if (!words.has_value()) return exit_code;

  const absl::StatusOr<std::string> text = TextOrStdin(*words);
  if (!text.ok()) return ReportWrongUsage(text.status().message());
  request.set_text(*text);
  request.set_add_special(add_special);
  request.set_parse_special(parse_special);
  v1::TokenizeResponse response;
  const grpc::Status status = Call(
      &v1::InferenceService::Stub::Tokenize, common,
      CallTimeout(common, /*deadline_ms=*/std::nullopt), request, &response);
  if (!status.ok()) return ReportError(status, common);
  if (common.json) {
    const std::vector<int32_t> ids(response.ids().begin(),
                                   response.ids().end());
    Print(DumpJson({{"ids", ids}}) + "\n");
  } else {
    Print(absl::StrJoin(response.ids(), " ") + "\n");
  }
  return kExitOk;
}

int RunDetokenize(std::span<const std::string> arguments) {
  CommonFlags common;
  bool skip_special = true;
  FlagSet flags;
  AddCommonFlags(common, flags);
  flags.Add("skip_special", &skip_special, "Leave control tokens out.");
  int exit_code = kExitOk;
  const auto words =
      ParseArguments(arguments, kDetokenizeUsage, common, flags, exit_code);
  if (!words.has_value()) return exit_code;

  v1::DetokenizeRequest request;
  request.set_skip_special(skip_special);
  for (const std::string& word : *words) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(word, &id)) {
      return ReportWrongUsage(
          absl::StrCat("detokenize: \"", word, "\", needs token ids"));
    }
    request.add_ids(id);
  }
  v1::DetokenizeResponse response;
  const grpc::Status status = Call(
      &v1::InferenceService::Stub::Detokenize, common,
      CallTimeout(common, /*deadline_ms=*/std::nullopt), request, &response);
  if (!status.ok()) return ReportError(status, common);
  Print(
      (common.json ? DumpJson({{"text", response.text()}}) : response.text()) +
      "\n");
  return kExitOk;
}

}  // namespace anyprec
