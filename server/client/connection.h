// Calls to a server: their time limits, and how their errors are shown.
#ifndef ANYPREC_SERVER_CLIENT_CONNECTION_H_
#define ANYPREC_SERVER_CLIENT_CONNECTION_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "anyprec/v1/inference_service.grpc.pb.h"
#include "runtime/command_line/flag_set.h"

namespace anyprec {

inline constexpr int kExitOk = 0;
// The server said no, or is away; or the output has not all been written.
inline constexpr int kExitFailure = 1;
inline constexpr int kExitWrongUsage = 2;  // flags or texts

// Flags that every command has, and the defaults that differ among them.
struct CommonFlags {
  std::string address = "127.0.0.1:50051";
  std::optional<double> timeout_ms;  // at least 0
  // What tokenizing the largest message or describing the model never takes,
  // even where the server computes on every processor.
  absl::Duration default_timeout = absl::Seconds(30);
  bool json = false;
  bool help = false;
};

void AddCommonFlags(CommonFlags& common, FlagSet& flags);

// How long a call may take: --timeout_ms where it was given; else
// --deadline_ms, and a little more for the server's own answer about it; else
// the command's default.
absl::Duration CallTimeout(const CommonFlags& common,
                           std::optional<double> deadline_ms);

std::unique_ptr<v1::InferenceService::Stub> Connect(const std::string& address);

// The context of one call, which ends after `timeout`.
class CallContext {
 public:
  CallContext(std::string address, absl::Duration timeout);

  grpc::ClientContext* get() { return &context_; }

  // `status`, which the call ended with; or, where the server was too slow or
  // fell silent, one that says so.
  grpc::Status Explain(const grpc::Status& status) const;

 private:
  const std::string address_;
  const absl::Duration timeout_;
  const absl::Time deadline_;
  grpc::ClientContext context_;
};

// Connects and makes one call that is answered by one message.
template <typename Request, typename Response>
grpc::Status Call(grpc::Status (v1::InferenceService::Stub::*method)(
                      grpc::ClientContext*, const Request&, Response*),
                  const CommonFlags& common, absl::Duration timeout,
                  const Request& request, Response* response) {
  const auto stub = Connect(common.address);
  CallContext context(common.address, timeout);
  return context.Explain((*stub.*method)(context.get(), request, response));
}

// {"code": "INVALID_ARGUMENT", "message": ..., "field_violations": [{"field":
// ..., "description": ...}], "retry_after_ms": ...}; the last two where known.
nlohmann::json ErrorToJson(const grpc::Status& status);

// The same for people, a line for each fact.
std::string ErrorToText(const grpc::Status& status);

// One line, with malformed UTF-8 replaced.
std::string DumpJson(const nlohmann::json& json);

// Reports a failed call, on stdout where `common.json` asks for JSON and on
// stderr else. Returns kExitFailure.
int ReportError(const grpc::Status& status, const CommonFlags& common);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_CLIENT_CONNECTION_H_
