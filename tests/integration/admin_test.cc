// The operator's side of the real server.

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "anyprec/v1/admin_service.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/integration/test_server.h"

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;

// A server with an admin port.
class AdminTest : public ::testing::Test {
 protected:
  AdminTest() {
    address_ = "127.0.0.1:" + ReadWord(PortFile());
    stub_ = v1::AdminService::NewStub(
        grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
  }

  static std::string PortFile() { return ::testing::TempDir() + "/admin_port"; }

  v1::GetStatsResponse GetStats() {
    grpc::ClientContext context;
    v1::GetStatsResponse response;
    const grpc::Status status = stub_->GetStats(&context, {}, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  v1::DrainResponse Drain() {
    grpc::ClientContext context;
    v1::DrainResponse response;
    const grpc::Status status = stub_->Drain(&context, {}, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  TestServer server_{QuantizedTinyLlama(),
                     {"--admin_port=0", "--admin_port_file=" + PortFile()}};
  std::string address_;
  std::unique_ptr<v1::AdminService::Stub> stub_;
};

grpc::health::v1::HealthCheckResponse::ServingStatus Health(
    const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = grpc::health::v1::Health::NewStub(channel)->Check(
      &context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.status();
}

TEST_F(AdminTest, IsOnItsOwnPortOnly) {
  const auto wrong_port = v1::AdminService::NewStub(server_.channel());
  grpc::ClientContext context;
  v1::GetStatsResponse response;
  EXPECT_EQ(wrong_port->GetStats(&context, {}, &response).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(
      Health(grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()),
             "anyprec.v1.AdminService"),
      grpc::health::v1::HealthCheckResponse::SERVING);
}

TEST_F(AdminTest, StatsCountWhatWasGeneratedAndWhatStepsCost) {
  v1::GenerateRequest request = GreedyRequest("Once upon", 20);
  request.mutable_precision()->set_fixed_bits(5);
  ASSERT_TRUE(Generate(server_.stub(), request).status.ok());
  server_.WaitUntilIdle();
  const v1::GetStatsResponse stats = GetStats();
  ASSERT_EQ(stats.generated_tokens_by_bits_size(), 1);
  EXPECT_EQ(stats.generated_tokens_by_bits(0).bits(), 5);
  EXPECT_EQ(stats.generated_tokens_by_bits(0).tokens(), 20);
  ASSERT_EQ(stats.prompt_tokens_by_bits_size(), 1);
  EXPECT_EQ(stats.prompt_tokens_by_bits(0).bits(), 5);
  EXPECT_EQ(stats.prompt_tokens_by_bits(0).tokens(),
            stats.state().prompt_tokens());
  ASSERT_EQ(stats.steps_by_bits_size(), 1);
  EXPECT_GE(stats.steps_by_bits(0).steps(), 20);
  EXPECT_EQ(stats.limits_in_force().min_bits(), 3);
  EXPECT_EQ(stats.limits_in_force().max_bits(), 8);
}

TEST_F(AdminTest, LimitsHoldForAutomaticRequestsAndNoOthers) {
  grpc::ClientContext context;
  v1::SetPrecisionLimitsRequest limits;
  limits.set_max_bits(4);
  v1::SetPrecisionLimitsResponse response;
  ASSERT_TRUE(stub_->SetPrecisionLimits(&context, limits, &response).ok());
  EXPECT_EQ(response.limits_in_force().max_bits(), 4);
  EXPECT_THAT(Generate(server_.stub(), GreedyRequest("Once", 8)).bits,
              Each(Le(4)));
  v1::GenerateRequest fixed = GreedyRequest("Once", 8);
  fixed.mutable_precision()->set_fixed_bits(8);
  EXPECT_THAT(Generate(server_.stub(), fixed).bits, Each(8));
}

TEST_F(AdminTest, APowerBudgetHoldsOrSaysWhyItCannot) {
  grpc::ClientContext context;
  v1::SetPowerBudgetRequest budget;
  budget.set_watts(10000);
  v1::SetPowerBudgetResponse response;
  const grpc::Status status =
      stub_->SetPowerBudget(&context, budget, &response);
  if (status.ok()) {  // This machine has RAPL, and we may read it.
    EXPECT_EQ(GetStats().power().budget_watts(), 10000);
    return;
  }
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("/sys/class/powercap"));
  EXPECT_THAT(GetStats().power().meter(), HasSubstr("/sys/class/powercap"));
}

TEST_F(AdminTest, DrainEndsTheProcessAsSigtermDoes) {
  // So many that they still run when the drain comes, however busy the machine.
  constexpr int kStreams = 48;
  constexpr int kTokens = 300;
  std::deque<grpc::ClientContext> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>>
      readers;
  for (int i = 0; i < kStreams; ++i) {
    readers.push_back(server_.stub().Generate(
        &contexts.emplace_back(), GreedyRequest("Once upon", kTokens)));
  }
  std::vector<int> tokens;
  v1::GenerateResponse piece;
  for (const auto& reader : readers) {
    ASSERT_TRUE(reader->Read(&piece));
    tokens.push_back(piece.tokens_size());
  }
  const v1::DrainResponse left = Drain();
  EXPECT_THAT(left.running_requests() + left.waiting_requests(),
              AllOf(Ge(1), Le(kStreams)));
  // What was accepted ends; meanwhile nothing else is.
  EXPECT_EQ(Health(server_.channel(), ""),
            grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(
      Generate(server_.stub(), GreedyRequest("More", 1)).status.error_code(),
      grpc::StatusCode::UNAVAILABLE);
  // Whoever sees the server drain and stops it cuts nothing short.
  server_.process().Signal(SIGTERM);
  for (int i = 0; i < kStreams; ++i) {
    while (readers[i]->Read(&piece)) tokens[i] += piece.tokens_size();
    const grpc::Status status = readers[i]->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_THAT(tokens, Each(kTokens));
  EXPECT_EQ(server_.process().Wait(), 0) << server_.process().Errors();
}

TEST_F(AdminTest, TheClientSpeaksForTheOperator) {
  const auto run = [this](const std::string& action,
                          const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {kClientBinary, "admin", action,
                                          "--address=" + address_};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return RunToEnd(arguments);
  };
  const Outcome limits = run("set-limits", {"--max_bits=6"});
  EXPECT_EQ(limits.output, "3 to 6 bits in force\n") << limits.errors;
  EXPECT_THAT(run("stats", {}).output,
              HasSubstr("3 to 6 bits in force, 3 to 6 bits by the operator"));
  EXPECT_THAT(run("stats", {"--json"}).output,
              HasSubstr("\"limits_in_force\":{\"min_bits\":3,\"max_bits\":6}"));
  const Outcome wrong = run("set-limits", {"--max_bits=9"});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.errors, HasSubstr("max_bits: is 9"));
  EXPECT_THAT(run("set-power", {"--watts=10000"}).exit_code, AnyOf(0, 1));
  EXPECT_EQ(run("set-power", {}).exit_code, 0);
  EXPECT_EQ(run("frobnicate", {}).exit_code, 2);
  EXPECT_EQ(run("drain", {}).exit_code, 0);
  EXPECT_EQ(server_.process().Wait(), 0) << server_.process().Errors();
}

}  // namespace
}  // namespace anyprec
