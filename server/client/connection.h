// A connection to a server, and how its errors are shown.
#ifndef ANYPREC_SERVER_CLIENT_CONNECTION_H_
#define ANYPREC_SERVER_CLIENT_CONNECTION_H_

#include <grpcpp/support/status.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "anyprec/v1/inference_service.grpc.pb.h"
#include "server/flag_set.h"

namespace anyprec {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;     // the server said no, or is away
inline constexpr int kExitWrongUsage = 2;  // flags, or no prompt

// Flags that every command has.
struct CommonFlags {
  std::string address = "127.0.0.1:50051";
  bool json = false;
  bool help = false;
};

void AddCommonFlags(CommonFlags& common, FlagSet& flags);

std::unique_ptr<v1::InferenceService::Stub> Connect(const std::string& address);

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
