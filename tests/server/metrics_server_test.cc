// The metrics over HTTP, well-formed and not.
#include "server/metrics_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "server/metrics.h"
#include "tests/server/exposition.h"
#include "tests/server/http_client.h"

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class MetricsServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = MetricsServer::Listen("127.0.0.1", 0, metrics_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  void ExpectAnswers() const {
    const HttpResponse response = HttpGet(server_->port(), "/metrics");
    ASSERT_EQ(response.status, 200);
    const Exposition exposition = ParseExposition(response.body);
    EXPECT_EQ(exposition.types.at("anyprec_request_success_total"), "counter");
  }

  Metrics metrics_;
  std::unique_ptr<MetricsServer> server_;
};

TEST_F(MetricsServerTest, ServesTheMetricsAndNothingElse) {
  ExpectAnswers();
  for (const std::string path :
       {"/", "/metric", "/../../etc/passwd", "/%2e%2e/etc/passwd"}) {
    EXPECT_NE(HttpGet(server_->port(), path).status, 200) << path;
  }
}

TEST_F(MetricsServerTest, APortInUseIsNamed) {
  const auto second =
      MetricsServer::Listen("127.0.0.1", server_->port(), metrics_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()),
              AllOf(HasSubstr(server_->address()), HasSubstr("in use")));
}

TEST_F(MetricsServerTest, AHostIsANameOrAnAddress) {
  for (const std::string host : {"localhost", "0.0.0.0"}) {
    const auto server = MetricsServer::Listen(host, 0, metrics_);
    ASSERT_TRUE(server.ok()) << host << ": " << server.status();
    EXPECT_EQ(HttpGet((*server)->port(), "/metrics").status, 200) << host;
  }
}

// Debian's build of the HTTP library has no IPv6, and throws.
TEST_F(MetricsServerTest, AnIpv6AddressWorksOrIsRefusedWithItsName) {
  for (const std::string host : {"::1", "[::1]"}) {
    const auto server = MetricsServer::Listen(host, 0, metrics_);
    if (server.ok()) continue;
    EXPECT_EQ(server.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(server.status().message()), HasSubstr("[::1]:0"));
  }
}

TEST_F(MetricsServerTest, AHostThatIsNoneIsNamed) {
  const auto server = MetricsServer::Listen("no host", 0, metrics_);
  EXPECT_EQ(server.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("no host"));
}

TEST_F(MetricsServerTest, MalformedRequestsLeaveItAtWork) {
  const std::vector<std::string> malformed = {
      "",
      "\r\n\r\n",
      "GET",
      "GET /metrics",
      "GET /metrics HTTP/9.9\r\n\r\n",
      "get /metrics\n\n",
      std::string("\0\0\0\0", 4),
      "GET /metrics HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
      "POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nx",
      "POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "GET /" + std::string(1 << 20, 'a') + " HTTP/1.1\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nX: " + std::string(1 << 20, 'a') + "\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
  };
  for (const std::string& bytes : malformed) {
    SendRaw(server_->port(), bytes);
    ExpectAnswers();
  }
}

}  // namespace
}  // namespace anyprec
