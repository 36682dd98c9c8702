// `anyprec score`, `anyprec tokenize` and `anyprec detokenize`.

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "server/client/commands.h"

namespace anyprec {
namespace {

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
  std::optional<int> bits;
  std::optional<int> context_tokens;
  std::optional<double> deadline_ms;
  FlagSet flags;
  AddCommonFlags(common, flags);
  flags.Add("bits", &bits, "Precision; else the highest that is loaded.");
  flags.Add("context_tokens", &context_tokens,
            "Leading tokens that are context only.");
  flags.Add("deadline_ms", &deadline_ms, "Milliseconds for the whole answer.");
  int exit_code = kExitOk;
  const auto words =
      ParseArguments(arguments, kScoreUsage, common, flags, exit_code);
  if (!words.has_value()) return exit_code;

  v1::ScoreRequest request;
  request.set_text(TextOrStdin(*words));
  if (bits) request.set_bits(*bits);
  if (context_tokens) request.set_context_tokens(*context_tokens);
  if (deadline_ms) request.set_deadline_ms(*deadline_ms);
  grpc::ClientContext context;
  v1::ScoreResponse response;
  const grpc::Status status =
      Connect(common.address)->Score(&context, request, &response);
  if (!status.ok()) return ReportError(status, common);
  if (common.json) {
    std::printf("%s\n", DumpJson(ScoreToJson(response)).c_str());
  } else {
    std::printf("%d tokens at %d bits: log-likelihood %.4f, perplexity %.4f\n",
                response.scored_tokens(), response.bits(),
                response.total_logprob(), response.perplexity());
  }
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

  request.set_text(TextOrStdin(*words));
  request.set_add_special(add_special);
  request.set_parse_special(parse_special);
  grpc::ClientContext context;
  v1::TokenizeResponse response;
  const grpc::Status status =
      Connect(common.address)->Tokenize(&context, request, &response);
  if (!status.ok()) return ReportError(status, common);
  if (common.json) {
    const std::vector<int32_t> ids(response.ids().begin(),
                                   response.ids().end());
    std::printf("%s\n", DumpJson({{"ids", ids}}).c_str());
  } else {
    std::printf("%s\n", absl::StrJoin(response.ids(), " ").c_str());
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
      std::fprintf(stderr, "anyprec: \"%s\" is no token id\n", word.c_str());
      return kExitWrongUsage;
    }
    request.add_ids(id);
  }
  grpc::ClientContext context;
  v1::DetokenizeResponse response;
  const grpc::Status status =
      Connect(common.address)->Detokenize(&context, request, &response);
  if (!status.ok()) return ReportError(status, common);
  std::printf("%s\n", common.json
                          ? DumpJson({{"text", response.text()}}).c_str()
                          : response.text().c_str());
  return kExitOk;
}

}  // namespace anyprec
