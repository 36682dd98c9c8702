#include "server/client/connection.h"

#include <grpcpp/create_channel.h>

#include <cstdio>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "server/status_conversion.h"

namespace anyprec {

void AddCommonFlags(CommonFlags& common, FlagSet& flags) {
  flags.Add("address", &common.address, "HOST:PORT of the server.");
  flags.Add("json", &common.json, "Print one JSON object rather than text.");
  flags.Add("help", &common.help, "Print this and exit.");
}

std::unique_ptr<v1::InferenceService::Stub> Connect(
    const std::string& address) {
  // gRPC would send even loopback addresses through http_proxy.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return v1::InferenceService::NewStub(grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), arguments));
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
