// The service over real gRPC within one process, with a fake engine and meter.
#include "server/admin_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "server/status_conversion.h"
#include "tests/server/fake_engine.h"
#include "tests/server/fake_power_meter.h"

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr PrecisionLimits kLoaded = {3, 8};

// The only field that `status` says is wrong.
std::string ViolatedField(const grpc::Status& status) {
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const google::rpc::Status details = FromGrpcStatus(status);
  google::rpc::BadRequest bad_request;
  for (const auto& detail : details.details()) {
    detail.UnpackTo(&bad_request);
  }
  EXPECT_EQ(bad_request.field_violations_size(), 1);
  if (bad_request.field_violations_size() == 0) return "";
  return bad_request.field_violations(0).field();
}

class AdminServiceTest : public ::testing::Test {
 protected:
  AdminServiceTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::AdminService::NewStub(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                            grpc::InsecureChannelCredentials()));
  }

  ~AdminServiceTest() override {
    server_->Shutdown();
    server_->Wait();
  }

  void Start(absl::StatusOr<std::unique_ptr<PowerMeter>> meter) {
    governor_ =
        std::make_unique<PrecisionGovernor>(engine_, kLoaded, std::move(meter));
    service_.Start({&engine_, governor_.get(), kLoaded, [this] { ++drains_; }});
  }
  void Start() { Start(std::make_unique<FakePowerMeter>(&reading_)); }

  v1::GetStatsResponse GetStats() {
    grpc::ClientContext context;
    v1::GetStatsResponse response;
    const grpc::Status status = stub_->GetStats(&context, {}, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  grpc::Status SetLimits(const v1::SetPrecisionLimitsRequest& request,
                         v1::PrecisionLimits* in_force = nullptr) {
    grpc::ClientContext context;
    v1::SetPrecisionLimitsResponse response;
    const grpc::Status status =
        stub_->SetPrecisionLimits(&context, request, &response);
    if (in_force != nullptr) *in_force = response.limits_in_force();
    return status;
  }

  grpc::Status SetBudget(std::optional<double> watts,
                         v1::PowerState* power = nullptr) {
    grpc::ClientContext context;
    v1::SetPowerBudgetRequest request;
    if (watts.has_value()) request.set_watts(*watts);
    v1::SetPowerBudgetResponse response;
    const grpc::Status status =
        stub_->SetPowerBudget(&context, request, &response);
    if (power != nullptr) *power = response.power();
    return status;
  }

  FakeEngine engine_;
  absl::StatusOr<double> reading_ = 120;
  std::unique_ptr<PrecisionGovernor> governor_;
  std::atomic<int> drains_ = 0;
  AdminService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::AdminService::Stub> stub_;
};

TEST_F(AdminServiceTest, BeforeTheModelIsLoadedCallsAreUnavailable) {
  grpc::ClientContext context;
  v1::GetStatsResponse stats;
  EXPECT_EQ(stub_->GetStats(&context, {}, &stats).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(SetLimits({}).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(SetBudget(1).error_code(), grpc::StatusCode::UNAVAILABLE);
  grpc::ClientContext drain_context;
  v1::DrainResponse drain;
  EXPECT_EQ(stub_->Drain(&drain_context, {}, &drain).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(drains_, 0);
}

TEST_F(AdminServiceTest, StatsHoldCountsLimitsAndPower) {
  Start();
  engine_.SetWaiting(2);
  governor_->Tick();
  const v1::GetStatsResponse stats = GetStats();
  EXPECT_EQ(stats.state().waiting_requests(), 2);
  EXPECT_EQ(stats.state().generated_tokens(), 11);
  ASSERT_EQ(stats.generated_tokens_by_bits_size(), 2);
  EXPECT_EQ(stats.generated_tokens_by_bits(1).bits(), 8);
  EXPECT_EQ(stats.generated_tokens_by_bits(1).tokens(), 6);
  EXPECT_EQ(stats.state().prompt_tokens(), 40);
  ASSERT_EQ(stats.prompt_tokens_by_bits_size(), 2);
  EXPECT_EQ(stats.prompt_tokens_by_bits(0).bits(), 3);
  EXPECT_EQ(stats.prompt_tokens_by_bits(0).tokens(), 30);
  EXPECT_EQ(stats.operator_limits().min_bits(), 3);
  EXPECT_EQ(stats.operator_limits().max_bits(), 8);
  EXPECT_EQ(stats.power().watts(), 120);
  EXPECT_EQ(stats.power().meter(), "fake");
  EXPECT_FALSE(stats.power().has_budget_watts());
}

TEST_F(AdminServiceTest, LimitsReachTheEngine) {
  Start();
  v1::SetPrecisionLimitsRequest request;
  request.set_min_bits(4);
  request.set_max_bits(6);
  v1::PrecisionLimits in_force;
  ASSERT_TRUE(SetLimits(request, &in_force).ok());
  EXPECT_EQ(in_force.min_bits(), 4);
  EXPECT_EQ(in_force.max_bits(), 6);
  EXPECT_EQ(engine_.Stats().precision_limits, (PrecisionLimits{4, 6}));
  ASSERT_TRUE(SetLimits({}).ok());
  EXPECT_EQ(engine_.Stats().precision_limits, kLoaded);
}

TEST_F(AdminServiceTest, LimitsOutsideTheModelNameTheField) {
  Start();
  v1::SetPrecisionLimitsRequest low;
  low.set_min_bits(2);
  EXPECT_EQ(ViolatedField(SetLimits(low)), "min_bits");
  v1::SetPrecisionLimitsRequest high;
  high.set_max_bits(9);
  EXPECT_EQ(ViolatedField(SetLimits(high)), "max_bits");
  v1::SetPrecisionLimitsRequest empty;
  empty.set_min_bits(6);
  empty.set_max_bits(5);
  EXPECT_EQ(ViolatedField(SetLimits(empty)), "max_bits");
}

TEST_F(AdminServiceTest, ABudgetLowersTheMaximumAndItsEndRestoresIt) {
  Start();
  v1::PowerState power;
  ASSERT_TRUE(SetBudget(100, &power).ok());
  EXPECT_EQ(power.budget_watts(), 100);
  EXPECT_EQ(power.cap_bits(), 8);
  for (int i = 0; i < PowerController::kLowerAfter; ++i) governor_->Tick();
  EXPECT_EQ(GetStats().limits_in_force().max_bits(), 7);
  EXPECT_EQ(GetStats().operator_limits().max_bits(), 8);
  ASSERT_TRUE(SetBudget(std::nullopt, &power).ok());
  EXPECT_FALSE(power.has_budget_watts());
  EXPECT_FALSE(power.has_cap_bits());
  EXPECT_EQ(GetStats().limits_in_force().max_bits(), 8);
}

TEST_F(AdminServiceTest, ABudgetThatIsNoPowerNamesTheField) {
  Start();
  for (const double watts : {0.0, -1.0, 2e6, std::nan("")}) {
    EXPECT_EQ(ViolatedField(SetBudget(watts)), "watts") << watts;
  }
}

TEST_F(AdminServiceTest, WithoutAMeterABudgetSaysWhatWasTried) {
  Start(absl::FailedPreconditionError(
      "/sys/class/powercap: No such file or directory"));
  const grpc::Status status = SetBudget(100);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(),
              AllOf(HasSubstr("cannot be measured"),
                    HasSubstr("/sys/class/powercap: No such file")));
  const v1::GetStatsResponse stats = GetStats();
  EXPECT_FALSE(stats.power().has_watts());
  EXPECT_THAT(stats.power().meter(), HasSubstr("/sys/class/powercap"));
}

TEST_F(AdminServiceTest, DrainSaysHowManyRequestsAreLeft) {
  Start();
  engine_.SetWaiting(3);
  grpc::ClientContext context;
  v1::DrainResponse response;
  ASSERT_TRUE(stub_->Drain(&context, {}, &response).ok());
  EXPECT_EQ(drains_, 1);
  EXPECT_EQ(response.waiting_requests(), 3);
  EXPECT_EQ(response.running_requests(), 0);
}

}  // namespace
}  // namespace anyprec
