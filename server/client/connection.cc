#include "server/client/connection.h"

#include <algorithm>
#include <cstdio>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/rpc/error_details.pb.h"
#include "server/client_channel.h"
#include "server/status_conversion.h"

namespace anyprec {
namespace {

// The server ends a call at its deadline and says why. It looks at the clock
// between steps, and a step of a long prompt can take a second.
constexpr absl::Duration kDeadlineSlack = absl::Seconds(2);

std::string MillisecondsText(absl::Duration duration) {
  return absl::StrCat(absl::ToInt64Milliseconds(duration), " ms");
}

}  // namespace

void AddCommonFlags(CommonFlags& common, FlagSet& flags) {
  const bool waits = common.default_timeout == absl::InfiniteDuration();
  flags.Add("address", &common.address, "HOST:PORT of the server.");
  flags.Add(
      "timeout_ms", &common.timeout_ms,
      absl::StrCat("Milliseconds after which the client gives up; 0 for "
                   "never. Without it: ",
                   waits ? "never" : MillisecondsText(common.default_timeout),
                   "."));
  flags.Add("json", &common.json, "Print one JSON object rather than text.");
  flags.Add("help", &common.help, "Print this and exit.");
}

absl::Duration CallTimeout(const CommonFlags& common,
                           std::optional<double> deadline_ms) {
  if (common.timeout_ms.has_value()) {
    return *common.timeout_ms == 0 ? absl::InfiniteDuration()
                                   : absl::Milliseconds(*common.timeout_ms);
  }
  if (deadline_ms.has_value()) {
    // A wrong deadline is the server's to refuse.
    return kDeadlineSlack +
           std::max(absl::Milliseconds(*deadline_ms), absl::ZeroDuration());
  }
  return common.default_timeout;
}

std::unique_ptr<v1::InferenceService::Stub> Connect(
    const std::string& address) {
  return v1::InferenceService::NewStub(NewClientChannel(address));
}

CallContext::CallContext(std::string address, absl::Duration timeout)
    : address_(std::move(address)),
      timeout_(timeout),
      deadline_(absl::Now() + timeout) {
  context_.set_deadline(absl::ToChronoTime(deadline_));
}

grpc::Status CallContext::Explain(const grpc::Status& status) const {
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED &&
      absl::Now() >= deadline_) {
    return {status.error_code(), absl::StrCat(address_, ": not done within ",
                                              MillisecondsText(timeout_),
                                              "; --timeout_ms grants more")};
  }
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE &&
      absl::StrContains(status.error_message(), "keepalive")) {
    return {status.error_code(),
            absl::StrCat(address_, ": the server has fallen silent (",
                         status.error_message(), ")")};
  }
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED &&
      status.error_message().empty()) {
    return {status.error_code(),
            absl::StrCat(address_,
                         ": offers no such call; \"anyprec admin\" needs the "
                         "server's --admin_port, all else its --port")};
  }
  return status;
}

nlohmann::json ErrorToJson(const grpc::Status& status) {
  const google::rpc::Status details = FromGrpcStatus(status);
  nlohmann::json json = {
      {"code", absl::StatusCodeToString(
                   static_cast<absl::StatusCode>(status.error_code()))},
      {"message", status.error_message()}};
  google::rpc::BadRequest bad_request;
  google::rpc::RetryInfo retry;
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&bad_request)) {
      for (const auto& violation : bad_request.field_violations()) {
        json["field_violations"].push_back(
            {{"field", violation.field()},
             {"description", violation.description()}});
      }
    } else if (detail.UnpackTo(&retry)) {
      json["retry_after_ms"] = retry.retry_delay().seconds() * 1000 +
                               retry.retry_delay().nanos() / 1'000'000;
    }
  }
  return json;
}

std::string ErrorToText(const grpc::Status& status) {
  const nlohmann::json error = ErrorToJson(status);
  std::string text = error["code"].get<std::string>();
  if (!error.contains("field_violations")) {
    absl::StrAppend(&text, ": ", status.error_message());
  } else {
    for (const nlohmann::json& violation : error["field_violations"]) {
      absl::StrAppend(&text, "\n  ", violation["field"].get<std::string>(),
                      ": ", violation["description"].get<std::string>());
    }
  }
  if (error.contains("retry_after_ms")) {
    absl::StrAppend(&text, "\n  try again in ",
                    error["retry_after_ms"].get<int64_t>(), " ms");
  }
  return text;
}

std::string DumpJson(const nlohmann::json& json) {
  return json.dump(/*indent=*/-1, /*indent_char=*/' ', /*ensure_ascii=*/false,
                   nlohmann::json::error_handler_t::replace);
}

int ReportError(const grpc::Status& status, const CommonFlags& common) {
  if (common.json) {
    std::printf("%s\n", DumpJson({{"error", ErrorToJson(status)}}).c_str());
  } else {
    std::fprintf(stderr, "anyprec: %s\n", ErrorToText(status).c_str());
  }
  return kExitFailure;
}

}  // namespace anyprec
