#include "server/client/connection.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/field_violations.h"
#include "server/status_conversion.h"

namespace anyprec {
namespace {

// Like a server that is stopped: the kernel takes connections, and nobody
// reads from them.
class SilentServer {
 public:
  SilentServer() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in name = {};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(name);
    auto* const address = reinterpret_cast<sockaddr*>(&name);
    EXPECT_EQ(bind(socket_, address, size), 0);
    EXPECT_EQ(listen(socket_, /*backlog=*/8), 0);
    EXPECT_EQ(getsockname(socket_, address, &size), 0);
    address_ = absl::StrCat("127.0.0.1:", ntohs(name.sin_port));
  }
  ~SilentServer() { close(socket_); }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;

  const std::string& address() const { return address_; }

 private:
  const int socket_;
  std::string address_;
};

grpc::Status GetModel(const CommonFlags& common, absl::Duration timeout) {
  v1::GetModelResponse response;
  return Call(&v1::InferenceService::Stub::GetModel, common, timeout,
              v1::GetModelRequest(), &response);
}

TEST(CallTest, EndsAtItsTimeLimitWhereTheServerIsSilent) {
  const SilentServer server;
  CommonFlags common;
  common.address = server.address();
  const grpc::Status status = GetModel(common, absl::Milliseconds(50));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(status.error_message(),
            absl::StrCat(server.address(),
                         ": not done within 50 ms; --timeout_ms grants more"));
}

TEST(CallTest, FailsAtOnceWhereNobodyListens) {
  CommonFlags common;
  common.address = "127.0.0.1:1";
  const grpc::Status status = GetModel(common, absl::InfiniteDuration());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(CallTest, DeadlinesThatTheServerReportsKeepItsWords) {
  const CallContext context("127.0.0.1:1", absl::InfiniteDuration());
  const grpc::Status status(grpc::StatusCode::DEADLINE_EXCEEDED, "in queue");
  EXPECT_EQ(context.Explain(status).error_message(), "in queue");
}

TEST(CallTimeoutTest, IsTheCommandsDefaultWithoutFlags) {
  CommonFlags common;
  common.default_timeout = absl::Seconds(7);
  EXPECT_EQ(CallTimeout(common, std::nullopt), absl::Seconds(7));
}

TEST(CallTimeoutTest, LeavesTheServerTimeToReportItsDeadline) {
  EXPECT_EQ(CallTimeout({}, 500), absl::Milliseconds(2500));
  // The server refuses it; until then there must be time.
  EXPECT_EQ(CallTimeout({}, -1e9), absl::Seconds(2));
}

TEST(CallTimeoutTest, TimeoutFlagOverridesBoth) {
  CommonFlags common;
  common.timeout_ms = 10;
  EXPECT_EQ(CallTimeout(common, 500), absl::Milliseconds(10));
  common.timeout_ms = 0;
  EXPECT_EQ(CallTimeout(common, 500), absl::InfiniteDuration());
}

TEST(ErrorTest, ErrorsNameEachFieldOnALineOfItsOwn) {
  FieldViolations violations;
  violations.Add("sampling.top_p", "is 2; must be in (0, 1]");
  violations.Add("prompt", "is missing");
  const grpc::Status status = ToGrpcStatus(violations.ToStatus());
  EXPECT_EQ(ErrorToText(status),
            "INVALID_ARGUMENT\n"
            "  sampling.top_p: is 2; must be in (0, 1]\n"
            "  prompt: is missing");
  EXPECT_EQ(ErrorToJson(status)["field_violations"][1]["field"], "prompt");
}

TEST(ErrorTest, ErrorsSayWhenToTryAgain) {
  absl::Status status = absl::ResourceExhaustedError("the queue is full");
  AttachRetry(absl::Milliseconds(1500), "QUEUE_FULL", status);
  EXPECT_EQ(ErrorToText(ToGrpcStatus(status)),
            "RESOURCE_EXHAUSTED: the queue is full\n  try again in 1500 ms");
}

TEST(DumpJsonTest, MalformedTextStaysPrintable) {
  EXPECT_EQ(DumpJson({{"text", "\xff"}}), "{\"text\":\"\xEF\xBF\xBD\"}");
}

}  // namespace
}  // namespace anyprec
